"""`headrace catalog`: every row is in the table, one row in full has its source, and a wrong name gets advice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.fleet import PriceStatus, catalog

Command = Callable[..., tuple[int, str, str]]
KINDS = ("accelerators", "systems", "models", "prices")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


@pytest.mark.parametrize("kind", ["accelerators", "systems", "models"])
def test_the_table_holds_every_row(command: Command, kind: str) -> None:
    code, out, err = command("catalog", kind)
    assert (code, err) == (0, "")
    for row in catalog.table(f"{kind}.csv"):
        assert f"\n  {row['name']} " in out


@pytest.mark.parametrize("kind", KINDS)
def test_no_figure_is_printed_as_a_power_of_ten(command: Command, kind: str) -> None:
    _, out, _ = command("catalog", kind)
    assert "e+" not in out


def test_figures_are_in_units_for_people(command: Command) -> None:
    _, out, _ = command("catalog", "accelerators", "WSE-3")
    assert "21,000 TB/s" in out
    assert "44 GB" in out
    assert "15,800 TFLOP/s" in out
    assert "23,000 W" in out


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("accelerators", "Sohu", ["spec_source", "aiwiki.ai", "unverified", "not shipped", "notes"]),
        ("systems", "GroqRack", ["recalled", "unverified", "72"]),
        ("models", "nvidia/DeepSeek-R1-NVFP4", ["deepseek-r1", "arXiv 2412.19437", "671 billion", "2025-01"]),
        ("prices", "gpt-oss-120b", ["litellm 1.109.1", "cerebras", "0.35 USD per million tokens"]),
        ("prices", "groq", ["gone", "current", "superseded"]),
    ],
)
def test_a_name_prints_the_row_in_full_with_its_source(
    command: Command, kind: str, name: str, words: list[str]
) -> None:
    code, out, _ = command("catalog", kind, name)
    assert code == 0
    for word in words:
        assert word in out


@pytest.mark.parametrize(
    ("kind", "typed", "meant"),
    [
        ("accelerators", "h100", "did you mean 'H100'"),
        ("systems", "DGX-H100", "did you mean 'DGX H100'"),
        ("models", "deepseek-r-1", "did you mean 'deepseek-r1'"),
        ("prices", "groqq", "did you mean 'groq'"),
        ("models", "", "known: "),
    ],
)
def test_an_unknown_name_is_an_error_with_close_matches(command: Command, kind: str, typed: str, meant: str) -> None:
    code, out, err = command("catalog", kind, typed)
    assert code == 2
    assert out == ""
    assert meant in err


@pytest.mark.parametrize("kind", KINDS)
def test_the_json_holds_numbers_dates_and_nulls(command: Command, kind: str) -> None:
    code, out, _ = command("catalog", kind, "--json", "-")
    result = json.loads(out)
    assert code == 0
    assert (result["schema"], result["command"]) == (1, f"catalog {kind}")
    for row in result[kind]:
        assert "" not in row.values()
        assert all(value is None or isinstance(value, str) for column, value in row.items() if column.endswith("date"))


def test_the_json_of_one_row_is_the_row_and_the_table_is_still_printed(command: Command) -> None:
    _, out, _ = command("catalog", "models", "gemma-4-31b", "--json", "gemma.json")
    (row,) = json.loads(Path("gemma.json").read_text())["models"]
    assert "gemma-4-31b" in out
    assert (row["tied_embeddings"], row["kv_lora_rank"], row["layers"]) == (True, None, 60)
    assert row["aliases"] == list(catalog.model("gemma-4-31b").aliases)


def test_the_table_of_prices_holds_current_offers_only(command: Command) -> None:
    _, out, _ = command("catalog", "prices", "--json", "-")
    current = [price for price in catalog.prices() if price.status is PriceStatus.CURRENT]
    assert [row["provider_model"] for row in json.loads(out)["prices"]] == [price.provider_model for price in current]
