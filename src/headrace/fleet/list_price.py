"""List prices: what a provider asks for the tokens of one model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PriceStatus(StrEnum):
    """Whether the newest price list at hand still holds the row."""

    CURRENT = "current"
    SUPERSEDED = "superseded"  # the same offer has a newer row
    GONE = "gone"  # the newest list does not have it


@dataclass(frozen=True, slots=True)
class ListPrice:
    """One row of a provider's price list, as of the date in `source`.

    Attributes:
        hardware_assumed: what serves it, as far as anybody outside knows.
        model: catalog name; `provider_model`: what requests and price lists call it.
        cached_input_usd_per_mtok: for input tokens found in the provider's cache; None: no discount is listed.
        deprecation_date: announced end of the offer, ISO 8601; None: none is announced.
    """

    provider: str
    hardware_assumed: str
    model: str
    provider_model: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    status: PriceStatus
    source: str
    cached_input_usd_per_mtok: float | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    deprecation_date: str | None = None
