"""Choosing: filter the candidates, score each in USD, pick the cheapest; prices learn from every choice.

filter   not drained, not full, breaker not open (`BackendState.priced`), not tried before
         no longer wait for a slot than an SLO allows: at a model server nobody can be overtaken
         with room in its quota (`quota.py`), within what hard budgets have left (`limits.py`)
score    priced outcome (pricing) + for each steered share, price * work on the candidates in its pools (prices)
picker   the lowest total; equal totals go by the order of the fleet file

Backends that lie on the same side of every steered share pay the same for the shares, so only the cheapest of each side
can win. One pass over the candidates finds those few; the shares then price sides, not backends. Where a limit is
priced (`limits.py`), or a share counts a request by its pool (`pool_shares.py`), each pool is a side of its own:
backends of a pool differ in latency only, and the fastest of them uses the least of every limit too.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import numpy as np
from numpy.typing import NDArray

from headrace.fleet import Fleet
from headrace.metrics import WorkRate
from headrace.policy.columns import MANY, PriceTable
from headrace.policy.event import PeerDraw, PeersReported, PeriodResumed, SignalReceived
from headrace.policy.limit import Best, LimitView
from headrace.policy.limits import PricedLimits
from headrace.policy.pool_shares import SharesByPool
from headrace.policy.prefix import PrefixIndex, Prompt
from headrace.policy.prices import ReportedShare, ShareController
from headrace.policy.pricing import BackendState
from headrace.policy.quota import Quotas
from headrace.policy.state import AttemptState, RequestState

BY_POOL = (0.0, 0.0, 0.0)  # in place of the rate of a share that is booked apart

# The backend chosen and its score; the cheapest outside the steered share's pools, where there is one, and its score.
# Scores are without the shares' prices.
Choice = tuple[BackendState, float, BackendState | None, float | None]


class Chooser:
    """Picks the cheapest backend for a request, and keeps the books of the shares.

    Attributes:
        limits: what is priced besides the shares; None where nothing is.
        quotas: what providers let us take; None where nothing is declared.
        by_pool: the shares that count a request by its pool; None where there is none.
    """

    def __init__(
        self,
        fleet: Fleet,
        backends: tuple[BackendState, ...],
        shares: tuple[ReportedShare, ...],
        limits: PricedLimits | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.limits = limits
        self.quotas = quotas
        steered = fleet.steered_share()
        self._steered_index = None if steered is None else list(fleet.shares).index(steered.name)
        self._shares = tuple((k, share) for k, share in enumerate(shares) if isinstance(share.rate, WorkRate))
        self._priced = tuple((k, share) for k, share in self._shares if isinstance(share, ShareController))
        apart = tuple((k, share) for k, share in enumerate(shares) if not isinstance(share.rate, WorkRate))
        self.by_pool = SharesByPool(apart, backends) if apart else None
        self._backends = backends
        self._prefixes = PrefixIndex([b.kv_capacity_tokens for b in backends], fleet.limits.prefix_index_entries)
        self._rates = tuple(share.rate[:3] if isinstance(share.rate, WorkRate) else BY_POOL for share in shares)
        self._table = PriceTable(backends, backends[0].stale) if len(backends) >= MANY else None
        tightest = (each.slo.ttft_s for each in fleet.classes.values() if each.slo.ttft_s is not None)
        self._longest_s = fleet.limits.slot_wait_fraction * min(tightest, default=inf)

    def inherit(self, before: Chooser, moved: Mapping[int, int]) -> None:
        """Take over prefixes, and prices of limits.

        Args:
            moved: new index of each backend that is still there, by its old one.
        """
        self._prefixes.inherit(before._prefixes, moved)
        if self.limits is not None and before.limits is not None:
            self.limits.inherit(before.limits)
        if self.quotas is not None and before.quotas is not None:
            self.quotas.inherit(before.quotas)

    def apart(self, backend: BackendState) -> str:
        """What tells the sides apart, besides the shares: where a limit is priced, pools and what they draw from."""
        if self.limits is None and (self.by_pool is None or not self.by_pool.steers):
            return ""
        account = None if self.quotas is None else self.quotas.of(backend)
        return backend.pool if account is None else f"{backend.pool}, {account.name}"

    def choose(self, now_s: float, request: RequestState) -> Choice | None:
        """The cheapest backend that is free and was not tried; None if there is none."""
        bests = self._bests(now_s, request)
        if not bests:
            return None
        for k, controller in self._priced:
            bests = _surcharged(bests, k, controller, request.work[k])
        if self.by_pool is not None:
            bests = self.by_pool.surcharged(bests, request)
        if self.limits is not None:
            bests = self.limits.surcharged(bests, request)
        _, _, score, chosen, _ = min(bests)  # equal totals go by the order of the fleet file
        steered = self._steered_index
        if steered is not None:
            outsider: Best | None = None
            for best in bests:
                if not best[4][steered] and (outsider is None or best < outsider):
                    outsider = best
            if outsider is not None:
                return chosen, score, outsider[3], outsider[2]
        return chosen, score, None, None

    def closed(self, now_s: float, request: RequestState) -> int:
        """The backends that the request was tried on, and those whose quota has no room for it, as a bit mask."""
        tried = request.tried
        return tried if self.quotas is None else tried | self.quotas.without_room(now_s, request)

    def refused(self, now_s: float, attempt: AttemptState) -> None:
        """A provider is full and did not take an attempt, which ends now."""
        if self.quotas is not None:
            self.quotas.refused(now_s, attempt)

    def told(self, now_s: float, event: SignalReceived) -> bool:
        """A signal came; returns whether it changed what providers let us take."""
        return self.quotas is not None and self.quotas.told(now_s, event)

    def draws(self, now_s: float) -> tuple[PeerDraw, ...]:
        """What this engine draws from the limits of providers."""
        return () if self.quotas is None else self.quotas.draws(now_s)

    def drawn_elsewhere(self, now_s: float, event: PeersReported) -> None:
        """Other engines say what they draw from them."""
        if self.quotas is not None:
            self.quotas.drawn_elsewhere(now_s, event)

    def choose_apart(self, now_s: float, request: RequestState, apart: int) -> Choice | None:
        """As `choose`, but for the backends of the bit mask `apart`."""
        tried = request.tried
        request.tried = tried | apart
        choice = self.choose(now_s, request)
        request.tried = tried
        return choice

    def choose_again(self, now_s: float, request: RequestState, backend: BackendState) -> Choice | None:
        """As `choose`, but `backend` before all others."""
        others = sum(1 << each.index for each in request.candidates.backends if each is not backend)
        return self.choose_apart(now_s, request, others) or self.choose(now_s, request)

    def resumed(self, now_s: float, event: PeriodResumed) -> None:
        """The driver says how far a period is."""
        if self.limits is not None:
            self.limits.resumed(now_s, event)

    def refused_s(self, now_s: float, request: RequestState) -> float | None:
        """Seconds until hard budgets allow the request somewhere again; None: they do now."""
        return None if self.limits is None else self.limits.refused_s(now_s, request)

    def miss_usd(self, request: RequestState) -> float:
        """What a miss of the SLO costs, where that is priced."""
        return 0.0 if self.limits is None else self.limits.miss_usd(request)

    def look_up(self, request: RequestState) -> None:
        """See which backends probably have the beginning of its prompt cached."""
        request.hits = None if request.prompt is None else self._prefixes.hits(request.prompt)

    def limit_views(self, now_s: float) -> list[LimitView]:
        """Every priced limit now."""
        return [] if self.limits is None else self.limits.views(now_s)

    def surcharges_usd(self, request: RequestState, backend: BackendState) -> tuple[float, float]:
        """What the shares' prices, and the limits', add for `backend`; nothing is learnt from it."""
        shares = sum(c.surcharge_usd(request.work[k]) for k, c in self._priced if backend.side[k])
        if self.by_pool is not None:
            shares += self.by_pool.surcharge_usd(request, backend)
        if self.limits is None:
            return shares, 0.0
        ((total, _, _, _, _),) = self.limits.surcharged([(0.0, backend.index, 0.0, backend, backend.side)], request)
        return shares, total

    def work(self, input_tokens: float, output_tokens: float) -> tuple[float, ...]:
        """Work of a request of this size, for each share by index."""
        work: tuple[float, ...] = ()
        for per_request, per_input_token, per_output_token in self._rates:  # mostly one
            work += (per_request + per_input_token * input_tokens + per_output_token * output_tokens,)
        return work

    def book(self, now_s: float, request: RequestState, attempt: AttemptState) -> None:
        """Book a dispatch in every share, at its predicted size."""
        backend = attempt.backend
        work, inside = request.work, backend.inside
        for k, share in self._shares:
            share.book(now_s, work[k], inside[k])
        if self.by_pool is not None:
            self.by_pool.book(now_s, request, attempt)
        if self.limits is not None:
            self.limits.booked(now_s, request, attempt)
        if self.quotas is not None:
            self.quotas.booked(now_s, attempt)
        if request.prompt is not None:
            self._prefixes.sent(request.prompt, backend.index)

    def ended(
        self,
        now_s: float,
        attempt: AttemptState,
        used_input: float,
        used_output: float,
        completed: bool,
        cached_input: int = 0,
    ) -> None:
        """Replace what was booked for an attempt by what it used; nothing used is no work at all."""
        booked, inside, dispatched_s = attempt.request.work, attempt.backend.inside, attempt.dispatched_s
        used = self.work(used_input, used_output) if used_input or used_output else (0.0,) * len(booked)
        for k, share in self._shares:
            share.true_up(dispatched_s, used[k] - booked[k], inside[k])
        if self.by_pool is not None:
            self.by_pool.ended(attempt, used_input, used_output, cached_input)
        if self.limits is not None:
            self.limits.ended(now_s, attempt, (used_input, used_output, cached_input), completed)
        if self.quotas is not None:
            self.quotas.ended(now_s, attempt, used_input + used_output, cached_input)
        prompt = attempt.request.prompt
        if prompt is not None and completed:
            self._prefixes.answered(prompt, attempt.backend.index, int(used_input + used_output))

    def _bests(self, now_s: float, request: RequestState) -> list[Best]:
        """The cheapest candidate of every side that has one, with what prefix hits save."""
        table, longest_s = self._table, self._longest_s
        tried = request.tried if self.quotas is None else self.closed(now_s, request)
        if table is None:
            bests = _bests_of_few(now_s, request, tried, longest_s)
        else:
            bests = _bests_of_many(request, table.scores(now_s, request, tried, longest_s))
        if bests and request.prompt is not None:
            bests = self._beside_hits(now_s, request, request.prompt, bests, tried)
        return bests if self.limits is None else self.limits.affordable(now_s, request, bests)

    def _beside_hits(
        self, now_s: float, request: RequestState, prompt: Prompt, bests: list[Best], tried: int
    ) -> list[Best]:
        """The cheapest of every side where some backends hold the prompt's beginning: only those are scored again."""
        request.hits = hits = self._prefixes.hits(prompt)
        side_of = request.candidates.side_of
        found = {side_of[best[1]]: best for best in bests}
        value = request.workload_class.value_of_time_usd_per_s
        for index in hits:
            backend, number = self._backends[index], side_of.get(index)
            if number is None or tried >> index & 1 or not backend.free(now_s):
                continue
            if not backend.takes(request.input_tokens, request.expected_output_tokens, self._longest_s):
                continue
            cached = request.cached_tokens(backend)
            score = backend.score_usd(request.input_tokens, request.expected_output_tokens, value, cached)
            if score < found[number][0]:
                found[number] = (score, index, score, backend, backend.side)
        return list(found.values())


def _bests_of_few(now_s: float, request: RequestState, tried: int, longest_s: float) -> list[Best]:
    """The cheapest candidate of every side, without prefix hits: none that is in the bit mask `tried`, or where the
    wait for a slot is longer than `longest_s`.
    """
    v = request.workload_class.value_of_time_usd_per_s
    i, o = float(request.input_tokens), request.expected_output_tokens
    after_first, size = o - 1.0, i + o
    bests: list[Best] = []
    for side, backends in request.candidates.sides:
        lowest, cheapest = inf, None
        for backend in backends:
            if not (backend.ready or backend.priced(now_s)) or (tried and tried >> backend.index & 1):
                continue
            tpot_s = backend.p0 + backend.p1 * i
            ttft_s = backend.t0 + i * (backend.t1 + backend.t2 * i)
            score = i * (backend.usd_in + backend.usd_in2 * i)
            score += o * (backend.usd_out + backend.usd_io * i) + v * (ttft_s + after_first * tpot_s)
            if size > backend.room_tokens:
                wait_s = backend.queued * o * tpot_s / backend.held
                if wait_s > longest_s and backend.held + backend.queued > 2:
                    continue
                score += v * wait_s * (1.0 + backend.failure_rate)
            if score < lowest:  # equal scores go by the order of the fleet file
                lowest, cheapest = score, backend
        if cheapest is not None:
            bests.append((lowest, cheapest.index, lowest, cheapest, side))
    return bests


def _bests_of_many(request: RequestState, scores: NDArray[np.float64]) -> list[Best]:
    """As `_bests_of_few`, for a fleet of many backends: the first of the lowest scores of every side."""
    candidates = request.candidates
    bests: list[Best] = []
    for (side, backends), indexes in zip(candidates.sides, candidates.indexes, strict=True):
        of_side = scores[indexes]
        first = int(of_side.argmin())
        score = float(of_side[first])
        if score < inf:
            bests.append((score, backends[first].index, score, backends[first], side))
    return bests


def _surcharged(bests: list[Best], k: int, controller: ShareController, work: float) -> list[Best]:
    """Add a share's price to the sides in its pools, and let its controller learn where there was a choice."""
    usd = controller.surcharge_usd(work)
    inside_usd = outside_usd = inf
    priced: list[Best] = []
    for best in bests:
        total, index, score, backend, side = best
        if side[k]:
            if total < inside_usd:
                inside_usd = total
            best = (total + usd, index, score, backend, side)
        elif total < outside_usd:
            outside_usd = total
        priced.append(best)
    if inside_usd < inf and outside_usd < inf:
        controller.learn(outside_usd - inside_usd, work)
    return priced
