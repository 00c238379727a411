"""Quotas: what a provider lets us take, reserved here before a request is sent, so that it need not say 429.

Each quota of the fleet is an account with the provider's own buckets (`headrace.bucket`), counted as the provider does
it: a request, its input as estimated, and its ceiling on output where that is what the provider takes at admission (or
what it assumes where the client sets none). A provider that takes output only when it was made will take it soon: what
live attempts are predicted to make is *owed*, and is as good as gone.

    room for a request:   level - owed >= tokens admitted + tokens owed later + a little that is kept back

The account is ours; the provider's is the true one. So a rate-limit header corrects it: `remaining`, as of the dispatch
of the attempt whose answer said it, less what was taken since, plus what has come back and was refilled since. A lower
level is believed at once, for whoever believes too much is told 429; a higher one by a part, since answers overtake
each other and a header may be older than its attempt. What is kept back covers what the two disagree about between one
header and the next: a part of the bucket and not of the rate, so nothing is lost by it in the long run.

The provider counts by organisation, so engines over one fleet tell each other what they take: see `shared_limit.py`.

An attempt that ends gives back what the provider gives back. One that was refused gives nothing back to a limit per
minute: that it was sent shows that we believed too much.

The rule that it protects: a backend whose quota has no room for a request is not picked, as if it were full.

Source: what providers take is in the tables of `wire.dialects`, with sources; reservation before use and settlement
after it are those of any account with credit, here as in token buckets with delayed feedback.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from headrace.fleet import Fleet, Quota
from headrace.fleet.dialect_check import debited_deployment, spoken_dialect
from headrace.policy.event import PeerDraw, PeersReported, SignalReceived
from headrace.policy.pricing import BackendState
from headrace.policy.shared_limit import SharedLimit
from headrace.policy.state import AttemptState, RequestState

SPARE: Final = 0.02  # of a limit: kept back
SIGNAL: Final = "quota"  # first part of the names of such signals
REMAINING, RESET = "remaining", "reset"
REQUESTS, TOKENS = "requests", "tokens"


def quota_signal(figure: str, of: str, window: str) -> str:
    """Name of the signal by which a driver hands on a rate-limit header, e.g. `quota_remaining_tokens_minute`.

    Args:
        figure: `remaining`, in its unit, or `reset`, in seconds from the time of the signal.
    """
    return f"{SIGNAL}_{figure}_{of}_{window}"


class Need(NamedTuple):
    """Tokens of a request: taken when it is admitted, and owed until it ends."""

    admitted: float
    owed: float


class QuotaAccount:
    """One quota.

    Attributes:
        name: of the quota, or of the only backend that draws from it.
        mask: the backends that draw from it, as a bit mask of their indexes.
    """

    def __init__(self, name: str, quota: Quota, interval_s: float) -> None:
        """
        Args:
            interval_s: between two reports of engines that share it.
        """
        self.name = name
        self.mask = 0
        self._quota = quota
        self._limits = {
            (of, window): SharedLimit(f"{name}.{of}.{window}", bucket, window == "minute", interval_s)
            for of in (REQUESTS, TOKENS)
            for window, bucket in quota.buckets(of).items()
        }
        self._requests = tuple(limit for (of, _), limit in self._limits.items() if of == REQUESTS)
        self._tokens = tuple(limit for (of, _), limit in self._limits.items() if of == TOKENS)
        self._booked: dict[int, Need] = {}

    def inherit(self, before: QuotaAccount) -> None:
        """The same quota in the fleet before: it has one level, whichever of the two engines takes from it."""
        if before._quota == self._quota:
            self._limits, self._booked = before._limits, before._booked
            self._requests, self._tokens = before._requests, before._tokens
            return
        for key, limit in self._limits.items():
            if key in before._limits:
                limit.inherit(before._limits[key])

    def reserved_output(self, ceiling: int | None) -> int:
        """Output tokens that are taken at admission for a request with this ceiling."""
        return self._quota.admitted_tokens(0, ceiling)

    def need(self, request: RequestState) -> Need:
        """What a request takes here with the ceiling that it would be given."""
        admitted = self._quota.admitted_tokens(request.input_tokens, request.ceiling_at(self.mask))
        owed = request.expected_output_tokens if self._quota.reserve_output is False else 0.0
        return Need(float(admitted), owed)

    def too_large(self, request: RequestState, more_input: int = 0) -> bool:
        """Whether the provider would not even take all of it, and so much more input, out of a full bucket."""
        admitted = self._quota.admitted_tokens(request.input_tokens + more_input, request.max_output_tokens)
        return any(admitted > limit.bucket.limit for limit in self._tokens)

    def wait_s(self, now_s: float, request: RequestState) -> float:
        """Seconds until there is room for a request, if nobody else takes it; 0: there is now."""
        admitted, later = self.need(request)
        wait_s = 0.0
        for limit in self._requests:
            wait_s = max(wait_s, limit.wait_s(now_s, 1.0))
        for limit in self._tokens:
            wait_s = max(wait_s, limit.wait_s(now_s, admitted + later, SPARE * limit.bucket.limit))
        return wait_s

    def fill(self, now_s: float) -> float:
        """How much of its scarcest limit is free, as a fraction of it: at most 1, negative if too much was taken."""
        return min((each.level(now_s) / each.bucket.limit for each in self._limits.values()), default=1.0)

    def booked(self, now_s: float, attempt: AttemptState) -> None:
        """An attempt is dispatched: reserve what it needs."""
        need = self.need(attempt.request)
        self._booked[attempt.attempt_id] = need
        for limit in self._requests:
            limit.take(now_s, 1.0)
        for limit in self._tokens:
            limit.take(now_s, need.admitted, need.owed)

    def ended(self, now_s: float, attempt: AttemptState, used_tokens: float, cached_tokens: float) -> None:
        """An attempt is over: settle what it used."""
        need = self._booked.pop(attempt.attempt_id, None)
        if need is None:
            return
        used = used_tokens if self._quota.count_cached else used_tokens - cached_tokens
        if not self._quota.true_up and self._quota.reserve_output is not False:
            used = need.admitted - (0.0 if self._quota.count_cached else cached_tokens)
        for limit in self._tokens:
            limit.take(now_s, used - need.admitted, -need.owed if self._booked else -limit.owed)

    def refused(self, now_s: float, attempt: AttemptState) -> None:
        """The provider did not take an attempt; see the module."""
        need = self._booked.pop(attempt.attempt_id, None)
        if need is not None:
            for limit in self._tokens:
                back = 0.0 if limit.minute else need.admitted
                limit.take(now_s, -back, -need.owed if self._booked else -limit.owed)

    def told(self, now_s: float, event: SignalReceived) -> None:
        """A rate-limit header came."""
        _, figure, of, window = event.name.split("_")
        limit = self._limits.get((of, window))
        if limit is None:
            return
        if figure == RESET:
            limit.bucket.renews(now_s, event.as_of_s + event.value - now_s)
        else:
            limit.remained(now_s, event.as_of_s, event.value)

    def draws(self, now_s: float) -> list[PeerDraw]:
        """What we draw from each of its limits."""
        return [limit.draw(now_s) for limit in self._limits.values()]

    def drawn_elsewhere(self, now_s: float, event: PeersReported) -> None:
        """Other engines say what they draw."""
        for limit in self._limits.values():
            limit.drawn_elsewhere(now_s, event.as_of_s, event.told, event.draws)


class Quotas:
    """The accounts of one fleet.

    Attributes:
        accounts: each once, in the order of the fleet file.
    """

    def __init__(
        self, accounts: Iterable[QuotaAccount], of: tuple[QuotaAccount | None, ...], names: Iterable[str]
    ) -> None:
        """
        Args:
            of: the account that each backend draws from, by its index; `names`: of the backends.
        """
        self.accounts = tuple(accounts)
        self._of = of
        self._by_name = dict(zip(names, of, strict=True))

    def inherit(self, before: Quotas) -> None:
        """Take over the accounts that are still there, by name."""
        known = {account.name: account for account in before.accounts}
        for account in self.accounts:
            if account.name in known:
                account.inherit(known[account.name])

    def of(self, backend: BackendState) -> QuotaAccount | None:
        """What the backend draws from; None: nothing that is limited."""
        return self._of[backend.index]

    def without_room(self, now_s: float, request: RequestState) -> int:
        """The backends whose quota has no room for a request, as a bit mask."""
        mask = 0
        for account in self.accounts:
            if account.wait_s(now_s, request) > 0.0:
                mask |= account.mask
        return mask

    def too_small(self, request: RequestState) -> int:
        """The backends whose provider would never take a request of its size, as a bit mask."""
        mask = 0
        for account in self.accounts:
            if account.too_large(request):
                mask |= account.mask
        return mask

    def room_s(self, now_s: float, request: RequestState, backends: Iterable[BackendState]) -> float | None:
        """Seconds until the first of these backends has room in its quota; None: one has it now, or there is none."""
        waits: list[float] = []
        for backend in backends:
            account = self._of[backend.index]
            if account is None:
                return None
            waits.append(account.wait_s(now_s, request))
        soonest = min(waits, default=0.0)
        return soonest if soonest > 0.0 else None

    def booked(self, now_s: float, attempt: AttemptState) -> None:
        """An attempt was dispatched."""
        account = self._of[attempt.backend.index]
        if account is not None:
            account.booked(now_s, attempt)

    def ended(self, now_s: float, attempt: AttemptState, used_tokens: float, cached_tokens: float) -> None:
        """An attempt is over."""
        account = self._of[attempt.backend.index]
        if account is not None:
            account.ended(now_s, attempt, used_tokens, cached_tokens)

    def refused(self, now_s: float, attempt: AttemptState) -> None:
        """A provider did not take an attempt."""
        account = self._of[attempt.backend.index]
        if account is not None:
            account.refused(now_s, attempt)

    def draws(self, now_s: float) -> tuple[PeerDraw, ...]:
        """What we draw from every limit."""
        return tuple(draw for account in self.accounts for draw in account.draws(now_s))

    def drawn_elsewhere(self, now_s: float, event: PeersReported) -> None:
        """Other engines say what they draw."""
        for account in self.accounts:
            account.drawn_elsewhere(now_s, event)

    def told(self, now_s: float, event: SignalReceived) -> bool:
        """A signal came; returns whether it was a rate-limit header of a quota."""
        account = self._by_name.get(event.backend)
        if account is None or not event.name.startswith(SIGNAL):
            return False
        account.told(now_s, event)
        return True


def declared_quotas(fleet: Fleet, backends: tuple[BackendState, ...]) -> Quotas | None:
    """The quotas that the fleet file declares; None: none, or none that is reserved."""
    if not fleet.limits.reserve_quota:
        return None
    accounts: dict[str, QuotaAccount] = {}
    of: list[QuotaAccount | None] = []
    for state, backend in zip(backends, fleet.backends, strict=True):
        quota = debited_deployment(fleet.pools[backend.pool].deployment, spoken_dialect(backend)).quota
        if quota is None or not (quota.buckets(REQUESTS) or quota.buckets(TOKENS)):
            of.append(None)
            continue
        name = quota.name or backend.name
        account = accounts.setdefault(name, QuotaAccount(name, quota, fleet.peers.interval_s))
        account.mask |= 1 << state.index
        of.append(account)
    names = [backend.name for backend in backends]
    return Quotas(accounts.values(), tuple(of), names) if accounts else None
