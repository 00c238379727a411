"""A limit is one limit however many workers there are, and survives the death of any of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.errors import BudgetSpent, CapacityError, QuotaExceeded
from headrace.fleet import Allowance
from headrace.tenancy import Accounts, Amount, Limiter, Party, periods_of

WORKERS = 4
NOW = 1_800_000_000.0
NOTHING = Amount()


def limiter(path: Path | None = None, own: int = 0) -> Limiter:
    return Limiter(Accounts(path, WORKERS if path else 1, own))


def in_workers(work: Callable[[int], int]) -> list[int]:
    """What each of the processes counted."""
    reading = []
    for own in range(WORKERS):
        out, into = os.pipe()
        if not os.fork():
            try:
                os.write(into, work(own).to_bytes(4, "little"))
            finally:
                os._exit(0)
        os.close(into)
        reading.append(out)
    for _ in range(WORKERS):
        os.wait()
    found = [int.from_bytes(os.read(out, 4), "little") for out in reading]
    for out in reading:
        os.close(out)
    return found


def admitted(limits: Limiter, party: Party, estimate: Amount, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            limits.admit((party,), estimate, 1000.0, NOW)  # at one moment: nothing refills
            count += 1
        except QuotaExceeded:
            pass
    return count


@pytest.mark.parametrize(
    ("allowance", "estimate", "fits"),
    [
        (Allowance(requests_per_minute=300), NOTHING, 300),
        (Allowance(tokens_per_minute=5000), Amount(tokens=10), 500),
        (Allowance(usd_per_day=4.0), Amount(usd=0.01), 400),
        (Allowance(requests_per_minute=300, usd_per_month=1.0), Amount(usd=0.01), 100),
    ],
)
def test_workers_together_let_by_exactly_what_the_limit_holds(
    tmp_path: Path, allowance: Allowance, estimate: Amount, fits: int
) -> None:
    path = tmp_path / "accounts"

    def work(own: int) -> int:
        return admitted(limiter(path, own), Party("tenant", "acme", allowance), estimate, fits)

    counts = in_workers(work)
    assert fits <= sum(counts) <= fits + 1  # sums of cents are not exact


def test_a_request_takes_from_its_tenant_and_its_key_or_from_neither() -> None:
    limits = limiter()
    tenant = Party("tenant", "acme", Allowance(requests_per_minute=5))
    key = Party("key", "ci", Allowance(requests_per_minute=2))
    for _ in range(2):
        limits.admit((tenant, key), NOTHING, 1000.0, NOW)
    for _ in range(7):
        with pytest.raises(QuotaExceeded, match="key 'ci'"):
            limits.admit((tenant, key), NOTHING, 1000.0, NOW)
    assert admitted(limits, tenant, NOTHING, 9) == 3


def test_who_waits_as_long_as_it_is_told_is_let_by() -> None:
    limits, party = limiter(), Party("tenant", "acme", Allowance(requests_per_minute=60))
    assert admitted(limits, party, NOTHING, 99) == 60
    with pytest.raises(QuotaExceeded) as told:
        limits.admit((party,), NOTHING, 1000.0, NOW)
    limits.admit((party,), NOTHING, 1000.0 + told.value.retry_after_s, NOW)


def test_an_estimate_is_trued_up() -> None:
    limits, party = limiter(), Party("tenant", "acme", Allowance(tokens_per_minute=1000, usd_per_day=1.0))
    estimate = Amount(tokens=900, usd=0.5)
    limits.admit((party,), estimate, 1000.0, NOW)
    limits.settle((party,), estimate, Amount(tokens=100, usd=0.1), 1000.0, NOW)
    standing, account = limits.standing(party, 1000.0, NOW)
    assert standing.tokens is not None
    assert standing.tokens[1] == pytest.approx(900)
    assert account.day_usd == account.month_usd == pytest.approx(0.1)
    assert account.reserved_usd == 0.0


def test_who_used_more_than_estimated_waits_the_longer() -> None:
    limits, party = limiter(), Party("tenant", "acme", Allowance(tokens_per_minute=1000))
    limits.admit((party,), Amount(tokens=100), 1000.0, NOW)
    limits.settle((party,), Amount(tokens=100), Amount(tokens=3000), 1000.0, NOW)
    with pytest.raises(QuotaExceeded) as told:
        limits.admit((party,), Amount(tokens=100), 1000.0, NOW)
    assert told.value.retry_after_s == pytest.approx((2000 + 100) / 1000 * 60)


def test_a_hard_budget_stops_and_a_soft_one_says_so() -> None:
    limits = limiter()
    hard = Party("tenant", "hard", Allowance(usd_per_day=1.0))
    soft = Party("tenant", "soft", Allowance(usd_per_day=1.0, hard=False))
    for party in (hard, soft):
        limits.settle((party,), NOTHING, Amount(usd=1.5), 1000.0, NOW)
    with pytest.raises(BudgetSpent) as told:
        limits.admit((hard,), NOTHING, 1000.0, NOW)
    ends = periods_of(NOW).day_ends_unix_s
    assert told.value.retry_after_s == ends - NOW
    limits.admit((hard,), NOTHING, 1000.0, ends)  # another day
    assert limits.admit((soft,), NOTHING, 1000.0, NOW).usd_left == -0.5


def test_a_month_goes_on_when_its_day_is_over() -> None:
    limits, party = limiter(), Party("tenant", "acme", Allowance(usd_per_day=9.0, usd_per_month=10.0))
    first = 1_798_761_600.0  # 2027-01-01
    for day in range(5):
        limits.settle((party,), NOTHING, Amount(usd=3.0), 0.0, first + day * 86400.0)
    with pytest.raises(BudgetSpent, match="a month"):
        limits.admit((party,), NOTHING, 0.0, first + 4 * 86400.0 + 1.0)
    limits.admit((party,), NOTHING, 0.0, first + 31 * 86400.0)


def test_headers_are_those_of_openai() -> None:
    limits, party = limiter(), Party("tenant", "a", Allowance(requests_per_minute=60, tokens_per_minute=600))
    headers = dict(limits.admit((party,), Amount(tokens=150), 1000.0, NOW).headers())
    assert headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1.000s",
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "450",
        "x-ratelimit-reset-tokens": "15.000s",
    }


def test_what_a_dead_worker_had_reserved_is_spent_and_its_lock_is_free(tmp_path: Path) -> None:
    path, party = tmp_path / "accounts", Party("tenant", "acme", Allowance(usd_per_day=1.0))
    held, into = os.pipe()
    child = os.fork()
    if not child:
        limits = limiter(path, 1)
        limits.admit((party,), Amount(usd=0.75), 1000.0, time.time())
        limits._accounts.lock()
        os.write(into, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(held, 1)
    os.kill(child, signal.SIGKILL)
    os.wait()
    again = limiter(path, 1)
    _, account = again.standing(party, 1000.0, time.time())
    assert account.reserved_usd == 0.0
    assert account.day_usd == 0.75
    os.close(held)
    os.close(into)


def test_accounts_go_by_name_in_every_worker(tmp_path: Path) -> None:
    first, second = (Accounts(tmp_path / "accounts", WORKERS, own) for own in (0, 1))
    with first.locked():
        names = [first.number(f"tenant/{number}") for number in range(100)]
    with second.locked():
        assert [second.number(f"tenant/{number}") for number in range(100)] == names == list(range(100))


def test_there_is_a_limit_to_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.tenancy.accounts.MOST_ACCOUNTS", 3)
    accounts = Accounts()
    for number in range(3):
        accounts.number(str(number))
    with pytest.raises(CapacityError):
        accounts.number("3")
