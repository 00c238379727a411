"""`headrace usage`: what people, programs and spreadsheets get to see."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from headrace.fleet import LedgerSettings
from headrace.ledger import Terms, UsageLedger

PRICED = Terms(0, 0, "b", "gpu", "m", 1e-6, 5e-7, 4e-6)
USAGE = {"input_tokens": 1000, "output_tokens": 100, "cached_input_tokens": 200}
USD = 800e-6 + 200 * 5e-7 + 100 * 4e-6


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Two days; one attempt with the backend's count and one cut off each, by tenants of their own."""
    path = tmp_path / "books"
    for day in (1, 2):
        with UsageLedger(path, LedgerSettings(rotate_bytes=1), started_unix_s=day * 86_400.0) as books:
            books.agree([PRICED])
            for number, tenant in enumerate(("red", "blue")):
                size = {"input_tokens": 900, "reserved_output_tokens": 500}
                books.opened(number, number, "b", "chat", 1.0, **size, api="chat", tenant=tenant)  # type: ignore[arg-type]
            books.closed(0, "completed", 2.0, **USAGE)
            books.closed(1, "cancelled", 2.0, delivered_output_tokens=7)
            books.maintain()
    return path


def test_the_json_has_each_group_and_the_total(command: Any, ledger: Path) -> None:
    code, out, _ = command("usage", str(ledger), "--by", "tenant, day", "--json", "-")
    answer = json.loads(out)
    assert (code, answer["command"], answer["by"]) == (0, "usage", ["tenant", "day"])
    red = [row for row in answer["rows"] if row["tenant"] == "red"]
    assert [row["day"] for row in red] == ["1970-01-02", "1970-01-03"]
    assert red[0]["usd_low"] == red[0]["usd_high"] == pytest.approx(USD)
    blue = next(row for row in answer["rows"] if row["tenant"] == "blue")
    assert (blue["uncertain"], blue["output_low"], blue["output_high"]) == (1, 7, 500)
    assert (blue["usd_low"], blue["usd_high"]) == pytest.approx((900 * 5e-7 + 7 * 4e-6, 900e-6 + 500 * 4e-6))
    assert (answer["total"]["attempts"], answer["total"]["requests"]) == (4, 4)
    assert (ledger / "usage.sqlite").is_file()


def test_the_table_ends_in_the_total(command: Any, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = command("usage", str(ledger), "--by", "pool", "--since", "1970-01-03")
    assert code == 0
    assert "107–600" in out
    assert "total" in out
    assert "1 attempts have no count of their backend's" in out


def test_a_spreadsheet_gets_the_rows(command: Any, ledger: Path) -> None:
    code, out, _ = command(
        "usage", "show", str(ledger), "--by", "status", "--until", "1970-01-02T00:00:02", "--csv", "-"
    )
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [(row["status"], row["attempts"], row["output_high"]) for row in rows] == [
        ("cancelled", "1", "500"),
        ("completed", "1", "100"),
    ]


def test_several_ledgers_are_one_and_leave_no_tables_behind(command: Any, ledger: Path, tmp_path: Path) -> None:
    with UsageLedger(tmp_path / "other.jsonl") as books:
        books.opened(1, 1, "b", "chat", 1.0, input_tokens=9, reserved_output_tokens=None)
    ledgers = (str(ledger), str(ledger), str(tmp_path / "other.jsonl"))
    code, out, _ = command("usage", *ledgers, "--by", "", "--json", "-")
    total = json.loads(out)["total"]
    assert (code, total["attempts"], total["usd_high"]) == (0, 5, None)
    assert not (ledger / "usage.sqlite").exists()
    assert command("usage", *ledgers, "--database", str(tmp_path / "all.sqlite"), "--json", "-")[0] == 0
    assert (tmp_path / "all.sqlite").is_file()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("usage", "none.jsonl"), "there is no such file"),
        (("usage", "--by", "colour"), "nothing is counted by colour"),
        (("usage", "--since", "yesterday"), "'yesterday' is no day and no time"),
        (("usage", "sync", "--to", "postgresql://a:b@c/d"), "a password there is seen"),
        (("usage", "sync", "--to", "env:NO_SUCH_URL"), "NO_SUCH_URL is not set"),
    ],
)
def test_what_is_wrong_is_said(
    command: Any, options: tuple[str, ...], fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    UsageLedger(tmp_path / "headrace-ledger.jsonl").close()
    code, _, err = command(*options)
    assert (code, fault in " ".join(err.split())) == (2, True), err
