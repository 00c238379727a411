"""What the priced limits have in common: how they see candidates, and how they show themselves."""

from __future__ import annotations

import msgspec

from headrace.policy.pricing import BackendState, Side

Best = tuple[float, int, float, BackendState, Side]  # total, index, score, backend, side: the cheapest of its side


class LimitView(msgspec.Struct, frozen=True):
    """One priced limit now.

    Attributes:
        name: path of the setting in the fleet file.
        unit: what lambda is paid for: a token-second of context held, or an expected miss.
        bound: what may be used, as a fraction of the room, or of the class's requests; `use`: what is.
    """

    name: str
    unit: str
    bound: float
    use: float
    lambda_usd_per_unit: float
