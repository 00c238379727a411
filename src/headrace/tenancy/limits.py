"""Limits of tenants and keys: requests and tokens per minute, USD per day and month.

A request is of a tenant, and perhaps of a key of that tenant: it must find room with both, and takes from both or from
neither. What it will use is not known when it comes, so an estimate is taken, and trued up when it has ended:

    requests   1, which stays taken
    tokens     estimated input + expected output (at most its ceiling); at the end what was counted. A bucket may go
               below zero so, and lets nobody by until it has refilled: over time no more than the limit passes
    USD        the dearest that its model may cost here is reserved, and what the ledger says is charged at the end

A hard budget lets a request by while what was spent and what is reserved are less than the budget. So it is used to its
end, and is exceeded by no more than the one request that was let by last. A soft one lets everybody by, and says so.

Source: `headrace.bucket`; the headers are those of OpenAI's "Rate limits" guide (x-ratelimit-*).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headrace.bucket import Bucket
from headrace.errors import BudgetSpent, QuotaExceeded
from headrace.fleet import Allowance
from headrace.tenancy.accounts import Account, Accounts
from headrace.tenancy.calendar import Periods, periods_of
from headrace.units import SECONDS_PER_MINUTE

BUSY_RETRY_S = 1.0  # what is reserved may be free again at any time


class Amount(NamedTuple):
    """Tokens and USD of a request: estimated, or used."""

    tokens: float = 0.0
    usd: float = 0.0


class Party:
    """One tenant, or one key, as it is counted. `title` is what messages call it; `account` names its account,
    and `number` finds it."""

    __slots__ = ("account", "allowance", "number", "requests", "reserves", "title", "tokens")

    def __init__(self, kind: str, name: str, allowance: Allowance) -> None:
        """
        Args:
            kind: `tenant` or `key`.
        """
        self.title = f"{kind} {name!r}"
        self.account = f"{kind}/{name}"
        self.allowance = allowance
        self.number: int | None = None
        self.requests = _bucket(allowance.requests_per_minute)
        self.tokens = _bucket(allowance.tokens_per_minute)
        self.reserves = allowance.budgeted and allowance.hard

    def budgets(self, account: Account, periods: Periods) -> list[tuple[str, float, float, float]]:
        """Each budget: its period, its USD, what was spent of it, and when it begins anew."""
        allowance, found = self.allowance, []
        if allowance.usd_per_day is not None:
            found.append(("day", allowance.usd_per_day, account.day_usd, periods.day_ends_unix_s))
        if allowance.usd_per_month is not None:
            found.append(("month", allowance.usd_per_month, account.month_usd, periods.month_ends_unix_s))
        return found


class Standing(NamedTuple):
    """How things stand after a request was let by: of each limit, that of the party with the least left.

    Attributes:
        requests, tokens: limit, what is left, and seconds until it is whole again; None: there is no limit.
        usd_left: of the budget with the least left; below zero: a soft one is exceeded. None: there is none.
    """

    requests: tuple[float, float, float] | None = None
    tokens: tuple[float, float, float] | None = None
    usd_left: float | None = None

    def headers(self) -> tuple[tuple[str, str], ...]:
        """As OpenAI's headers say it, and the budget in one of ours."""
        found: list[tuple[str, str]] = []
        for of, stated in (("requests", self.requests), ("tokens", self.tokens)):
            if stated is not None:
                limit, left, reset_s = stated
                found.append((f"x-ratelimit-limit-{of}", f"{int(limit)}"))
                found.append((f"x-ratelimit-remaining-{of}", f"{int(max(left, 0.0))}"))
                found.append((f"x-ratelimit-reset-{of}", _duration(reset_s)))
        if self.usd_left is not None:
            found.append(("x-headrace-budget-left-usd", f"{self.usd_left:.6f}"))
        return tuple(found)


class _Now(NamedTuple):
    """Monotonic time, wall time, and the periods that hold it."""

    s: float
    unix_s: float
    periods: Periods


class Limiter:
    """Lets requests by, or not, for one worker of a gateway."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._periods = periods_of(0.0)

    def admit(self, parties: Sequence[Party], estimate: Amount, now_s: float, now_unix_s: float) -> Standing:
        """Take what a request is estimated to use from all of these, or from none.

        Args:
            now_s: on CLOCK_MONOTONIC.

        Raises:
            QuotaExceeded: there is no room; BudgetSpent: no money.
            CapacityError: there is no room for another account.
        """
        accounts, now = self._accounts, _Now(now_s, now_unix_s, self._at(now_unix_s))
        with accounts.locked():
            numbered = [(party, self._number(party)) for party in parties]
            read = [(party, number, self._read(number, party, now)) for party, number in numbered]
            for party, _, account in read:
                _check(party, account, estimate, now, [(each, found) for each, _, found in read])
            for party, number, account in read:
                _take(party, account, 1.0, estimate.tokens, now_s)
                accounts.write(number, account, estimate.usd if party.reserves else 0.0)
                account.reserved_usd += estimate.usd if party.reserves else 0.0
            return _standing([(party, account) for party, _, account in read], now)

    def settle(self, parties: Sequence[Party], estimate: Amount, used: Amount, now_s: float, now_unix_s: float) -> None:
        """True up what was estimated with what was used; `estimate` is zero for what was never admitted."""
        accounts, now = self._accounts, _Now(now_s, now_unix_s, self._at(now_unix_s))
        with accounts.locked():
            for party in parties:
                number = self._number(party)
                account = self._read(number, party, now)
                _take(party, account, 0.0, used.tokens - estimate.tokens, now_s)
                account.day_usd += used.usd
                account.month_usd += used.usd
                accounts.write(number, account, -estimate.usd if party.reserves else 0.0)

    def standing(self, party: Party, now_s: float, now_unix_s: float) -> tuple[Standing, Account]:
        """How things stand for one of them."""
        now = _Now(now_s, now_unix_s, self._at(now_unix_s))
        with self._accounts.locked():
            account = self._read(self._number(party), party, now)
            return _standing([(party, account)], now), account

    def _number(self, party: Party) -> int:
        """Of its account, which stays the same: a party is of one limiter."""
        if party.number is None:
            party.number = self._accounts.number(party.account)
        return party.number

    def _read(self, number: int, party: Party, now: _Now) -> Account:
        account = self._accounts.read(number)
        account.begin(now.periods.day_unix_s, now.periods.month_unix_s)
        _load(party.requests, account.requests_level, account.requests_as_of_s, now.s)
        _load(party.tokens, account.tokens_level, account.tokens_as_of_s, now.s)
        return account

    def _at(self, now_unix_s: float) -> Periods:
        if not self._periods.day_unix_s <= now_unix_s < self._periods.day_ends_unix_s:
            self._periods = periods_of(now_unix_s)
        return self._periods


def _bucket(limit: float | None) -> Bucket | None:
    return None if limit is None else Bucket(limit, SECONDS_PER_MINUTE)


def _load(bucket: Bucket | None, level: float, as_of_s: float, now_s: float) -> None:
    """Give a bucket the level of an account; one that was never used is full."""
    if bucket is not None:
        bucket.set(as_of_s or now_s, level if as_of_s else bucket.limit)


def _take(party: Party, account: Account, requests: float, tokens: float, now_s: float) -> None:
    """From the buckets as they were loaded, into the account."""
    if party.requests is not None:
        party.requests.take(now_s, requests)
        account.requests_level, account.requests_as_of_s = party.requests.level(now_s), now_s
    if party.tokens is not None:
        party.tokens.take(now_s, tokens)
        account.tokens_level, account.tokens_as_of_s = party.tokens.level(now_s), now_s


def _check(party: Party, account: Account, estimate: Amount, now: _Now, read: Sequence[tuple[Party, Account]]) -> None:
    """Raise what a request is refused for, with how things stand for all that were asked."""
    if party.requests is not None and (wait_s := party.requests.wait_s(now.s, 1.0)) > 0.0:
        said = f"{party.title} may ask {party.requests.limit:g} times a minute; try again in {wait_s:.3g} s"
        raise QuotaExceeded(said, wait_s, _standing(read, now).headers())
    if party.tokens is not None and (wait_s := party.tokens.wait_s(now.s, estimate.tokens)) > 0.0:
        limit = party.tokens.limit
        said = f"the request is estimated at {estimate.tokens:.0f} tokens, and {party.title} may use {limit:g} a minute"
        hint = "ask for less at once" if estimate.tokens > limit else f"try again in {wait_s:.3g} s"
        raise QuotaExceeded(f"{said}; {hint}", wait_s, _standing(read, now).headers())
    if not party.reserves:
        return
    for period, usd, spent, ends_unix_s in party.budgets(account, now.periods):
        if spent + account.reserved_usd >= usd:
            retry_after_s = ends_unix_s - now.unix_s if spent >= usd else BUSY_RETRY_S
            said = f"the budget of {party.title}, {usd:g} USD a {period}, is spent or reserved by what is under way"
            raise BudgetSpent(said, retry_after_s, _standing(read, now).headers())


def _standing(read: Sequence[tuple[Party, Account]], now: _Now) -> Standing:
    requests = [party.requests for party, _ in read if party.requests is not None]
    tokens = [party.tokens for party, _ in read if party.tokens is not None]
    left = [usd - spent for party, found in read for _, usd, spent, _ in party.budgets(found, now.periods)]
    return Standing(_least(requests, now.s), _least(tokens, now.s), min(left, default=None))


def _least(buckets: Sequence[Bucket], now_s: float) -> tuple[float, float, float] | None:
    if not buckets:
        return None
    found = min(buckets, key=lambda each: each.level(now_s))
    return found.limit, found.level(now_s), found.left_s(now_s)


def _duration(seconds: float) -> str:
    """As Go writes durations: 1m30.250s, 0.017s."""
    minutes, rest = divmod(max(seconds, 0.0), SECONDS_PER_MINUTE)
    return f"{minutes:.0f}m{rest:.3f}s" if minutes else f"{rest:.3f}s"
