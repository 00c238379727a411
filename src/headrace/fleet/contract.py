"""Price terms: on which terms a pool's capacity is had."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PerToken:
    """Pay for what is used, at list price.

    Attributes:
        cached_input_usd_per_mtok: price of input tokens found in the provider's cache; None: no discount.
    """

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None


@dataclass(frozen=True, slots=True)
class Hourly:
    """Pay for time, used or not (owned, reserved, on demand). What a request adds is its energy.

    Attributes:
        pue: data-centre power per chip power; 1.0 where the power figure is all-in already.
    """

    usd_per_accelerator_hour: float
    electricity_usd_per_kwh: float
    pue: float = 1.0


PriceTerms = PerToken | Hourly
