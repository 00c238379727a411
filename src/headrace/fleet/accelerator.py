"""Accelerators: chip types as the catalog describes them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Memory(StrEnum):
    """Where the weights live: it decides how a chip serves."""

    EXTERNAL = "external"
    SRAM = "sram"


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One chip type (for wafer-scale parts, one system). Absent figures are None, never 0.

    Attributes:
        memory_bytes: what can hold weights and KV cache: HBM, or on-chip SRAM on an SRAM part.
        memory_bandwidth_bytes_per_s: bandwidth of that memory.
        sram_bytes: on-chip memory or last-level cache, also where it is not what holds the weights.
        second_tier_memory_bytes: slower memory behind the first (DDR, LPDDR): capacity only.
        flops_bf16, flops_fp8, flops_fp4: dense peak FLOP/s; `flops_int8`: dense peak integer operations/s.
        scale_up_bandwidth_bytes_per_s: per chip, one direction.
        scale_up_domain_chips: chips that reach each other at that bandwidth.
        availability: who can have it; it starts with `not shipped` where nobody can.
        tdp_w: of the chip; `all_in_w`: data-centre power per chip, the figure for power planning.
        price_usd_per_h: per chip, on the terms that `price_basis` names.
        speed_as: catalog name whose speed coefficients hold for this chip; None: its own.
    """

    name: str
    vendor: str
    memory: Memory
    memory_kind: str
    memory_bytes: float
    source: str
    memory_bandwidth_bytes_per_s: float | None = None
    sram_bytes: float | None = None
    second_tier_memory_bytes: float | None = None
    flops_bf16: float | None = None
    flops_fp8: float | None = None
    flops_fp4: float | None = None
    flops_int8: float | None = None
    scale_up_bandwidth_bytes_per_s: float | None = None
    scale_up_domain_chips: int | None = None
    tdp_w: float | None = None
    all_in_w: float | None = None
    price_usd_per_h: float | None = None
    price_basis: str | None = None
    availability: str | None = None
    unverified: tuple[str, ...] = ()
    speed_as: str | None = None

    @property
    def power_w(self) -> float | None:
        """Power per chip for costs: all-in where it is known, else the chip's own."""
        return self.all_in_w if self.all_in_w is not None else self.tdp_w
