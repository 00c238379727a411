"""A gateway that starts in the middle of a month knows how far it is, and what its ledger says was used."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.config import load_fleet
from headrace.cost import spend_rate
from headrace.fleet import Budget, Commitment, CommittedUnit, Fleet, Per
from headrace.gateway import resumed_periods
from headrace.ledger import UsageLedger

START_S = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC).timestamp()
DAY = Per.DAY.seconds


def fleet(**budget: object) -> Fleet:
    each = replace(Budget("b", 100.0, Per.MONTH, pools=("groq",), from_unix_s=START_S), **budget)  # type: ignore[arg-type]
    tokens = Commitment("c", ("groq", "h100"), 1e9, CommittedUnit.TOKENS, Per.DAY)
    return replace(load_fleet(), budgets={"b": each}, commitments={"c": tokens})


def write(path: Path, run_start_s: float, *attempts: tuple[str, str, float, int | None]) -> None:
    """Attempts of 1,000 input tokens, as (backend, class, second, output tokens or None: it did not say)."""
    with UsageLedger(path, started_unix_s=run_start_s) as ledger:
        for number, (backend, name, at_s, output_tokens) in enumerate(attempts, start=1):
            ledger.opened(number, number, backend, name, at_s, input_tokens=1000, reserved_output_tokens=500)
            input_tokens = None if output_tokens is None else 1000
            ledger.closed(number, "completed", at_s + 1, input_tokens=input_tokens, output_tokens=output_tokens)


def test_the_period_and_what_was_used_in_it_come_from_the_clock_and_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    write(path, START_S - DAY, ("groq-1", "chat", 10.0, 100))  # before the first period
    write(path, START_S + DAY, ("groq-1", "chat", 10.0, 200), ("h100-1", "chat", 20.0, 300))
    write(path, START_S + 2 * DAY, ("groq-1", "coding", 10.0, None), ("gone-1", "chat", 11.0, 10))
    commitment, budget = resumed_periods(fleet(), path, START_S + 2.5 * DAY)
    rate = spend_rate(fleet().pools["groq"])
    assert (budget.limit, budget.elapsed_s) == ("budgets.b", 2.5 * DAY)
    assert budget.used == pytest.approx(rate.work(1000, 200) + rate.work(1000, 500)), "at most what was reserved"
    assert (commitment.limit, commitment.elapsed_s) == ("commitments.c", 0.5 * DAY)
    assert commitment.used == 1000.0, "today's, with at least nothing as its output"


def test_a_budget_counts_its_classes_only(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    write(path, START_S, ("groq-1", "chat", 10.0, 200), ("groq-1", "coding", 10.0, 200))
    _, budget = resumed_periods(fleet(classes=("coding",)), path, START_S + 100.0)
    assert budget.used == pytest.approx(spend_rate(fleet().pools["groq"]).work(1000, 200))


def test_a_period_goes_round_and_one_that_is_to_come_is_negative(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    write(path, START_S, ("groq-1", "chat", 10.0, 200))
    _, budget = resumed_periods(fleet(), path, START_S + Per.MONTH.seconds + 7.0)
    assert (budget.elapsed_s, budget.used) == (pytest.approx(7.0), 0.0)
    _, budget = resumed_periods(fleet(from_unix_s=START_S + DAY), path, START_S + 100.0)
    assert (budget.elapsed_s, budget.used) == (100.0 - DAY, 0.0)


def test_without_any_the_ledger_is_not_read(tmp_path: Path) -> None:
    assert resumed_periods(load_fleet(), tmp_path / "absent", START_S) == []
