"""Hedging: a second attempt beside a first one whose first token is late, where that is worth its price.

    late     observed TTFT > factor * predicted TTFT, the factor being a quantile of their ratio in the class
    worth    value of time * time saved > what the second attempt is expected to add in cost
    budget   what all hedges add <= hedge_budget * the cost of all requests

Factor and excess are learnt (`lateness.py`): what is left of a wait is proportional to how long it has lasted, after t
seconds m = excess * t more, on average. A second attempt that needs T
seconds to its first token comes first with the chance p = exp(-T / m), and then saves m seconds of waiting and what its
tokens come faster. If it comes first, the first attempt's prompt is lost, and one answer is written at another's price;
else its own prompt is lost. Load that it puts on others, and prices of shares and limits, are part of its cost.

The budget is reserved at the dispatch, for the dearer outcome, and what the other one costs less comes back. It is kept
in USD; in seconds of silicon where everything is free. Old thrift is forgotten over a thousand requests, so that a
quiet day does not pay for a storm of hedges on a bad one.

The rule it protects: hedges cost nobody anything where they are off, and never more than their budget.

Source: J. Dean, L. A. Barroso, "The Tail at Scale", CACM 56 (2013), for hedging beyond the 95th percentile.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import exp
from typing import Final

from headrace.fleet import Fleet
from headrace.policy.action import AnyAction, DispatchReason
from headrace.policy.attempts import Attempts
from headrace.policy.choice import Choice, Chooser
from headrace.policy.lateness import Lateness
from headrace.policy.pricing import BackendState
from headrace.policy.state import AttemptState
from headrace.policy.timers import HEDGE_TIMER, Timers

KEPT: Final = 0.999  # of what was saved up, from one request to the next


class Hedging:
    """Makes a second attempt where that is worth it, and ends the one that loses."""

    __slots__ = (
        "_attempts",
        "_budget",
        "_chooser",
        "_free",
        "_heap",
        "_lateness",
        "_left",
        "_max_attempts",
        "_timers",
    )

    def __init__(
        self,
        fleet: Fleet,
        chooser: Chooser,
        backends: tuple[BackendState, ...],
        attempts: Attempts,
        timers: Timers,
    ) -> None:
        limits = fleet.limits
        self._chooser = chooser
        self._attempts = attempts
        self._timers = timers
        self._max_attempts = limits.max_attempts
        self._budget = limits.hedge_budget
        self._free = not any(backend.cost_usd(1.0, 1.0) for backend in backends)
        self._left = 0.0  # of the budget
        self._lateness = {
            name: Lateness(limits.hedge_quantile)
            for name, each in fleet.classes.items()
            if each.value_of_time_usd_per_s > 0.0 or each.slo.ttft_s is not None
        }
        self._heap: list[tuple[float, int, AttemptState]] = []  # what answers or ends is passed over

    def expect(self, now_s: float, attempt: AttemptState, cost_usd: float, actions: list[AnyAction]) -> None:
        """Note when an attempt would be late, and what its cost allows; see to it that somebody looks then.

        Args:
            actions: a timer is added, where one must be set.
        """
        request = attempt.request
        if self._free:
            cost_usd = attempt.backend.alone_s(request.input_tokens, request.expected_output_tokens)
        self._left = KEPT * self._left + self._budget * cost_usd
        lateness = self._lateness.get(request.workload_class.name)
        if lateness is None or not request.streamed or len(request.candidates.backends) == 1:
            return
        request.lateness = lateness
        if request.resumes:
            return
        heap, due_s = self._heap, now_s + lateness.factor * attempt.ttft_s
        heappush(heap, (due_s, attempt.attempt_id, attempt))
        if heap[0][2] is attempt:
            actions += self._timers.by(HEDGE_TIMER, due_s)

    def begin(self, now_s: float, apart: int) -> list[AnyAction]:
        """Make a second attempt beside each one that is late, where that is worth it; see when the next is.

        Args:
            apart: bit mask of backends that it should rather not go to.
        """
        heap = self._heap
        while heap and not heap[0][2].waits:
            heappop(heap)
        if not heap:
            return []
        if heap[0][0] > now_s:
            return self._timers.by(HEDGE_TIMER, heap[0][0])
        actions: list[AnyAction] = []
        for attempt in self._late(now_s):
            request = attempt.request
            choice = self._choose(now_s, attempt, apart) if request.tries < self._max_attempts else None
            if choice is not None:
                hedge, dispatch = self._attempts.begin(now_s, request, choice, DispatchReason.HEDGE)
                actions.append(dispatch)
                self._timers.expect(now_s, hedge, actions)
        return actions + self._timers.by(HEDGE_TIMER, self._next_s())

    def won(self, now_s: float, attempt: AttemptState) -> list[AnyAction]:
        """Of two attempts this one answers: the other is cancelled, and what was reserved too much comes back."""
        request = attempt.request
        first, second = request.attempt, request.hedge
        if first is None or second is None:
            return []
        loser = first if attempt is second else second
        if request.lateness is not None:
            request.lateness.observe(loser.ttft_s, now_s - loser.dispatched_s)
        if loser is second:
            self._left += self._reserve(first, second.backend) - self._cost(second.backend, request.input_tokens, 0.0)
        return [self._attempts.cancel(now_s, loser)]

    def _next_s(self) -> float | None:
        """When the next attempt that waits is late; None: none does."""
        heap = self._heap
        while heap and not heap[0][2].waits:
            heappop(heap)
        return heap[0][0] if heap else None

    def _late(self, now_s: float) -> list[AttemptState]:
        """Attempts that are late and alone; looked at again when they are twice as late."""
        found = []
        while (due_s := self._next_s()) is not None and due_s <= now_s:
            attempt = heappop(self._heap)[2]
            if attempt.request.hedge is None:
                heappush(self._heap, (2.0 * now_s - attempt.dispatched_s, attempt.attempt_id, attempt))
                found.append(attempt)
        return found

    def _choose(self, now_s: float, attempt: AttemptState, apart: int) -> Choice | None:
        """Where a second attempt is worth its price and within the budget: on other silicon if there is any."""
        request = attempt.request
        pool = request.candidates.in_pool(attempt.backend.pool)
        choice = self._chooser.choose_apart(now_s, request, pool | apart)
        if choice is None:
            choice = self._chooser.choose_apart(now_s, request, apart)
        if choice is None or not self._worth(now_s, attempt, choice[0]):
            return None
        reserve = self._reserve(attempt, choice[0])
        if reserve > self._left:
            return None
        self._left -= reserve
        return choice

    def _worth(self, now_s: float, first: AttemptState, second: BackendState) -> bool:
        request = first.request
        i, o = float(request.input_tokens), request.expected_output_tokens
        waited_s = now_s - first.dispatched_s
        left_s = self._lateness[request.workload_class.name].excess * waited_s
        ttft_s, tpot_s = second.latency(i, o, request.cached_tokens(second))
        wins = exp(-ttft_s / left_s) if left_s > 0.0 else 0.0
        saved_s = wins * (left_s + (o - 1.0) * (first.tpot_s - tpot_s))
        saved_usd = request.workload_class.value_of_time_usd_per_s * saved_s
        saved_usd += self._slo_usd(now_s, first, ttft_s, left_s)
        prompt_usd = second.cost_usd(i, 0.0)
        moved_usd = second.cost_usd(i, o) - first.backend.cost_usd(i, o) + first.backend.cost_usd(i, 0.0)
        added_usd = wins * (moved_usd + sum(self._chooser.surcharges_usd(request, second)))
        return saved_usd > added_usd + (1.0 - wins) * prompt_usd + second.delay_usd(i, o)

    def _slo_usd(self, now_s: float, first: AttemptState, ttft_s: float, left_s: float) -> float:
        """What a miss of the class's priced TTFT costs, times the chance that the second attempt prevents it."""
        request = first.request
        usd, slo_s = self._chooser.miss_usd(request), request.workload_class.slo.ttft_s
        if not usd or slo_s is None or left_s <= 0.0:
            return 0.0
        room_s = request.arrived_s + slo_s - now_s
        return usd * exp(-room_s / left_s) if ttft_s < room_s else 0.0

    def _reserve(self, first: AttemptState, second: BackendState) -> float:
        """Most that a second attempt is expected to add: a prompt in vain, and an answer written where it is dearer."""
        request = first.request
        i, o = request.input_tokens, request.expected_output_tokens
        dearer = self._cost(second, i, o) - self._cost(first.backend, i, o)
        return max(self._cost(second, i, 0.0), self._cost(first.backend, i, 0.0) + max(dearer, 0.0))

    def _cost(self, backend: BackendState, input_tokens: float, output_tokens: float) -> float:
        """In the budget's unit."""
        if self._free:
            return backend.alone_s(input_tokens, max(output_tokens, 1.0))
        return backend.cost_usd(input_tokens, output_tokens)
