"""List prices: every row is sourced, of a known model, and says whether it still holds."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from headrace.fleet import PriceStatus, catalog

TODAY = "2026-11-25"
PRICES = catalog.prices()


def test_every_price_is_of_a_catalogued_model_and_names_its_source() -> None:
    models = {model.name for model in catalog.models()}
    assert {price.model for price in PRICES} <= models
    for row in catalog.table("prices.csv"):
        assert row["source"], row["provider_model"]
        assert row["date"].startswith("20"), row["provider_model"]


def test_a_cached_token_never_costs_more_than_a_new_one() -> None:
    for price in PRICES:
        assert 0 < price.input_usd_per_mtok <= price.output_usd_per_mtok
        assert price.cached_input_usd_per_mtok is None or price.cached_input_usd_per_mtok <= price.input_usd_per_mtok


def test_an_offer_has_one_current_price_at_most_and_only_old_ones_are_superseded() -> None:
    current = Counter((p.provider, p.provider_model) for p in PRICES if p.status is PriceStatus.CURRENT)
    assert max(current.values()) == 1
    for price in PRICES:
        offer = (price.provider, price.provider_model)
        assert (price.status is PriceStatus.GONE) == (offer not in current)


def test_no_offer_had_ended_when_the_table_was_made() -> None:
    assert all(price.deprecation_date is None or price.deprecation_date > TODAY for price in PRICES)


def test_prices_are_found_by_any_name_of_the_model() -> None:
    assert catalog.prices("openai/GPT-OSS-120B") == catalog.prices("gpt-oss-120b") != ()
    assert catalog.prices("bloom-176b") == ()
    with pytest.raises(catalog.UnknownName):
        catalog.prices("gpt-oss-12b")


def test_every_live_row_of_the_collected_prices_is_here(data_dir: Path) -> None:
    with (data_dir / "prices.csv").open(newline="", encoding="utf-8") as lines:
        collected = list(csv.DictReader(lines))
    retired = {
        (row["provider"], row["model"])
        for row in collected
        if row["deprecation_date"] and row["deprecation_date"] <= TODAY
    }
    live = Counter((row["provider"], row["model"]) for row in collected)
    expected = {offer: count for offer, count in live.items() if offer not in retired}
    assert Counter((price.provider, price.provider_model) for price in PRICES) == expected
