"""Choosing: filter the candidates, score each in USD, pick the cheapest; prices learn from every choice.

filter   not drained, not full, breaker not open, not tried before (pricing.BackendState.free)
score    priced outcome (pricing) + for each steered share, price * work on the candidates in its pools (prices)
picker   the lowest total; equal totals go by the order of the fleet file
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from headrace.fleet import Fleet
from headrace.policy.prices import ShareController
from headrace.policy.pricing import BackendState
from headrace.policy.routing import PolicyName
from headrace.policy.state import RequestState


class Option(NamedTuple):
    """One candidate with its price; options compare by total, then by the order of the fleet file."""

    total_usd: float
    order: int
    backend: BackendState
    score_usd: float
    cost_usd: float
    ttft_s: float
    tpot_s: float


class Choice(NamedTuple):
    """The cheapest option, and beside it the cheapest outside the steered share's pools, where there is one."""

    option: Option
    outside: Option | None


class Chooser:
    """Picks a backend for a request, by the policy that it was made for."""

    def __init__(self, fleet: Fleet, controllers: tuple[ShareController, ...], policy: PolicyName, rng: Random) -> None:
        share = fleet.steered_share()
        self._steered_index = None if share is None else list(fleet.shares).index(share.name)
        self._target = 0.0 if share is None else share.target
        self._priced = tuple((k, c) for k, c in enumerate(controllers) if c.steered)
        self._controllers = controllers
        self._static = policy is PolicyName.STATIC
        self._rng = rng

    def choose(self, now_s: float, request: RequestState) -> Choice | None:
        """The cheapest backend that is free and was not tried; None if there is none."""
        tried = request.tried
        free = [b for b in request.candidates if b.free(now_s) and not tried >> b.index & 1]
        if self._static:
            free = self._drawn(free)
        if not free:
            return None
        input_tokens, output_tokens = request.input_tokens, request.expected_output_tokens
        value_of_time = request.workload_class.value_of_time_usd_per_s
        options = []
        for backend in free:
            score, cost, ttft_s, tpot_s = backend.score(input_tokens, output_tokens, value_of_time)
            options.append(Option(score, backend.index, backend, score, cost, ttft_s, tpot_s))
        for k, controller in self._priced:
            options = _surcharged(options, k, controller, controller.rate.work(input_tokens, output_tokens))
        return Choice(min(options), self._outside(options))

    def book(self, now_s: float, request: RequestState, backend: BackendState) -> None:
        """Book a dispatch in every share, at its predicted size."""
        for k, controller in enumerate(self._controllers):
            work = controller.rate.work(request.input_tokens, request.expected_output_tokens)
            controller.book(now_s, work, backend.inside[k])

    def true_up(self, request: RequestState, backend: BackendState, used_input: float, used_output: float) -> None:
        """Replace what was booked for an attempt by what it used; nothing used is no work at all."""
        for k, controller in enumerate(self._controllers):
            rate = controller.rate
            used = rate.work(used_input, used_output) if used_input or used_output else 0.0
            booked = rate.work(request.input_tokens, request.expected_output_tokens)
            controller.true_up(used - booked, backend.inside[k])

    def _drawn(self, free: list[BackendState]) -> list[BackendState]:
        """The `static` policy: a coin decides the side; the other side serves if that one cannot."""
        k = self._steered_index
        if k is None:
            return free
        inside = self._rng.random() < self._target
        return [b for b in free if b.inside[k] is inside] or free

    def _outside(self, options: list[Option]) -> Option | None:
        k = self._steered_index
        return None if k is None else min((o for o in options if not o.backend.inside[k]), default=None)


def _surcharged(options: list[Option], k: int, controller: ShareController, work: float) -> list[Option]:
    """Add a share's price to the options in its pools, and let its controller learn where there was a choice."""
    usd = controller.surcharge_usd(work)
    inside = [o for o in options if o.backend.inside[k]]
    if inside and len(inside) < len(options):
        outside_usd = min(o.total_usd for o in options if not o.backend.inside[k])
        saving_usd = outside_usd - min(o.total_usd for o in inside)
        controller.learn(saving_usd, work)
    return [o._replace(total_usd=o.total_usd + usd) if o.backend.inside[k] else o for o in options]
