"""What the priced limits have in common: how they see candidates, and how they show themselves."""

from __future__ import annotations

import msgspec

from headrace.policy.pricing import BackendState, Side

Best = tuple[float, int, float, BackendState, Side]  # total, index, score, backend, side: the cheapest of its side


class LimitView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One priced limit now.

    Attributes:
        name: path of the setting in the fleet file.
        unit: what lambda is paid for: a token-second of context held, an expected miss, a unit of a commitment or of a
            budget, a token of a quota.
        bound: what may be used: a fraction of the room, of the class's requests, or an amount per period; `use`: what
            is.
        pace: of an amount per period, what would be used by now at an even pace.
    """

    name: str
    unit: str
    bound: float
    use: float
    lambda_usd_per_unit: float
    pace: float | None = None
