"""Systems: what is bought, rented or racked as one: nodes, racks, slices and instances of an accelerator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class System:
    """A number of accelerators that come together.

    Attributes:
        accelerator: its catalog name.
        count: accelerators of that kind in one system.
        scale_up_domain_chips: accelerators that reach each other at scale-up bandwidth; a system may hold fewer.
        power_w: power of one system; `power_basis` says which: nameplates and data-centre averages do not compare.
        unverified: figures that were recalled or derived.
    """

    name: str
    vendor: str
    accelerator: str
    count: int
    source: str
    scale_up_domain_chips: int | None = None
    power_w: float | None = None
    power_basis: str | None = None
    notes: str | None = None
    unverified: tuple[str, ...] = ()
