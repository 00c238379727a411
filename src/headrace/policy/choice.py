"""Choosing: filter the candidates, score each in USD, pick the cheapest; prices learn from every choice.

filter   not drained, not full, breaker not open, not tried before (pricing.BackendState.free_from_s)
score    priced outcome (pricing) + for each steered share, price * work on the candidates in its pools (prices)
picker   the lowest total; equal totals go by the order of the fleet file

Backends that lie on the same side of every steered share pay the same for the shares, so only the cheapest of each side
can win. One pass over the candidates finds those few; the shares then price sides, not backends.
"""

from __future__ import annotations

from math import inf
from random import Random
from typing import NamedTuple

from headrace.fleet import Fleet
from headrace.policy.prices import ShareController
from headrace.policy.pricing import BackendState
from headrace.policy.routing import PolicyName
from headrace.policy.state import AttemptState, RequestState

Side = tuple[bool, ...]  # for each share of the fleet, by index: inside its pools; False for one that is only reported


class Best:
    """The cheapest backend of one side; `total_usd` is its score with the shares' prices."""

    __slots__ = ("backend", "score_usd", "side", "total_usd")

    def __init__(self, side: Side, backend: BackendState, score_usd: float) -> None:
        self.side = side
        self.backend = backend
        self.score_usd = score_usd
        self.total_usd = score_usd


class Choice(NamedTuple):
    """The backend chosen, and the cheapest one outside the steered share's pools, where there is one.

    Scores are without the shares' prices.
    """

    backend: BackendState
    score_usd: float
    outside: BackendState | None
    outside_score_usd: float | None


class Chooser:
    """Picks a backend for a request, by the policy that it was made for."""

    def __init__(
        self,
        fleet: Fleet,
        backends: tuple[BackendState, ...],
        controllers: tuple[ShareController, ...],
        policy: PolicyName,
        rng: Random,
    ) -> None:
        share = fleet.steered_share()
        self._steered_index = None if share is None else list(fleet.shares).index(share.name)
        self._target = 0.0 if share is None else share.target
        self._priced = tuple((k, c) for k, c in enumerate(controllers) if c.steered)
        self._controllers = tuple(enumerate(controllers))
        self._static = policy is PolicyName.STATIC
        self._rng = rng
        counts = [not share.report_only for share in fleet.shares.values()]
        sides = [tuple(i and c for i, c in zip(b.inside, counts, strict=True)) for b in backends]
        self._sides = tuple(dict.fromkeys(sides))
        self._side_of = tuple(self._sides.index(side) for side in sides)

    def choose(self, now_s: float, request: RequestState) -> Choice | None:
        """The cheapest backend that is free and was not tried; None if there is none."""
        bests = self._bests(now_s, request)
        if self._static:
            bests = self._drawn(bests)
        if not bests:
            return None
        for k, controller in self._priced:
            _surcharge(bests, k, controller, request.work[k])
        best = _cheapest(bests)
        steered = self._steered_index
        outside = [] if steered is None else [b for b in bests if not b.side[steered]]
        if not outside:
            return Choice(best.backend, best.score_usd, None, None)
        other = _cheapest(outside)
        return Choice(best.backend, best.score_usd, other.backend, other.score_usd)

    def work(self, input_tokens: float, output_tokens: float) -> tuple[float, ...]:
        """Work of a request of this size, for each share by index."""
        return tuple([c.rate.work(input_tokens, output_tokens) for _, c in self._controllers])

    def book(self, now_s: float, request: RequestState, backend: BackendState) -> None:
        """Book a dispatch in every share, at its predicted size."""
        for k, controller in self._controllers:
            controller.book(now_s, request.work[k], backend.inside[k])

    def true_up(self, attempt: AttemptState, used_input: float, used_output: float) -> None:
        """Replace what was booked for an attempt by what it used; nothing used is no work at all."""
        request, inside = attempt.request, attempt.backend.inside
        for k, controller in self._controllers:
            used = controller.rate.work(used_input, used_output) if used_input or used_output else 0.0
            controller.true_up(attempt.dispatched_s, used - request.work[k], inside[k])

    def _bests(self, now_s: float, request: RequestState) -> list[Best]:
        """The cheapest candidate of every side that has one."""
        tried, side_of = request.tried, self._side_of
        input_tokens, output_tokens = request.input_tokens, request.expected_output_tokens
        value_of_time = request.workload_class.value_of_time_usd_per_s
        lowest = [inf] * len(self._sides)
        found: list[BackendState | None] = [None] * len(self._sides)
        for backend in request.candidates:
            if backend.stale:
                backend.reprice()
            if backend.free_from_s <= now_s and not tried >> backend.index & 1:
                score = backend.score_usd(input_tokens, output_tokens, value_of_time)
                side = side_of[backend.index]
                if score < lowest[side]:
                    lowest[side] = score
                    found[side] = backend
        return [Best(self._sides[i], b, lowest[i]) for i, b in enumerate(found) if b is not None]

    def _drawn(self, bests: list[Best]) -> list[Best]:
        """The `static` policy: a coin decides the side; the other side serves if that one cannot."""
        k = self._steered_index
        if k is None:
            return bests
        inside = self._rng.random() < self._target
        return [b for b in bests if b.side[k] is inside] or bests


def _cheapest(bests: list[Best]) -> Best:
    """The lowest total; equal ones go by the order of the fleet file."""
    best = bests[0]
    for other in bests:
        if (other.total_usd, other.backend.index) < (best.total_usd, best.backend.index):
            best = other
    return best


def _surcharge(bests: list[Best], k: int, controller: ShareController, work: float) -> None:
    """Add a share's price to the sides in its pools, and let its controller learn where there was a choice."""
    usd = controller.surcharge_usd(work)
    inside_usd = outside_usd = inf
    for best in bests:
        if not best.side[k]:
            outside_usd = min(outside_usd, best.total_usd)
        else:
            inside_usd = min(inside_usd, best.total_usd)
            best.total_usd += usd
    if inside_usd < inf and outside_usd < inf:
        controller.learn(outside_usd - inside_usd, work)
