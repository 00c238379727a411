"""The policies that users know from other routers, to compare prices with.

Each is a picker of a few lines. Ties go by the order of the fleet file, so that the same events give the same choices.
None of them steers a share; `static` meets one by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from headrace.fleet import Fleet
from headrace.policy.picker import Asking, Candidate, Picker


class RoundRobin(Picker):
    """Each in turn, by the order of the fleet file."""

    def __init__(self, fleet: Fleet, rng: Random) -> None:
        self._last = -1

    def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
        """The next free backend after the last one picked."""
        found = next((each for each in free if each.index > self._last), free[0])
        self._last = found.index
        return found


class PowerOfTwo(Picker):
    """Two at random, of which the one with fewer attempts in flight.

    Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001).
    """

    def __init__(self, fleet: Fleet, rng: Random) -> None:
        self._rng = rng

    def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
        """The less loaded of two different ones."""
        return min(self._rng.sample(free, min(2, len(free))), key=_load)


class Static(Picker):
    """A fixed weight: a coin sends the share's target to its pools, whatever the request; there the best score wins."""

    def __init__(self, fleet: Fleet, rng: Random) -> None:
        share = fleet.steered_share()
        self._pools = frozenset(share.pools) if share else frozenset[str]()
        self._target = share.target if share else 0.0
        self._rng = rng

    def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
        """The best on the coin's side, or on the other one if that side has nothing free."""
        if self._pools:
            inside = self._rng.random() < self._target
            free = [each for each in free if (each.pool in self._pools) is inside] or free
        return min(free, key=lambda each: (_score_usd(request, each), each.index))


class _Least(Picker):
    """The backend with the least of something, which needs no memory."""

    def __init__(self, fleet: Fleet, rng: Random) -> None:
        pass

    def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
        """The one with the least `measure`; the order of the fleet file breaks ties."""
        measure = self.measure
        return min(free, key=lambda each: (measure(request, each), each.index))

    def measure(self, request: Asking, backend: Candidate) -> Any:
        """What is to be small: anything that compares."""
        raise NotImplementedError


class LeastInFlight(_Least):
    """The one with the fewest attempts in flight."""

    def measure(self, request: Asking, backend: Candidate) -> int:
        """Attempts dispatched and not ended."""
        return backend.in_flight


class LowestLatency(_Least):
    """The one where the request is expected to end first, as observed so far and at the present load."""

    def measure(self, request: Asking, backend: Candidate) -> float:
        """Expected E2E seconds: TTFT + (output tokens - 1) * TPOT."""
        ttft_s, tpot_s = backend.latency(
            request.input_tokens, request.expected_output_tokens, request.cached_tokens(backend)
        )
        return ttft_s + (request.expected_output_tokens - 1.0) * tpot_s


class PrefixAware(_Least):
    """The one that holds the longest beginning of the prompt; among equals, the least loaded."""

    def measure(self, request: Asking, backend: Candidate) -> tuple[float, int]:
        """(tokens not held, attempts in flight)."""
        return request.input_tokens - request.cached_tokens(backend), backend.in_flight


class Cheapest(_Least):
    """The one that adds the least marginal cost, however slow."""

    def measure(self, request: Asking, backend: Candidate) -> float:
        """Marginal cost in USD."""
        return backend.cost_usd(request.input_tokens, request.expected_output_tokens, request.cached_tokens(backend))


class Fastest(_Least):
    """The one that is fastest when nothing else runs: the best silicon first, whatever its load or price."""

    def measure(self, request: Asking, backend: Candidate) -> float:
        """E2E seconds alone on the backend."""
        return backend.alone_s(request.input_tokens, request.expected_output_tokens)


def _load(backend: Candidate) -> tuple[int, int]:
    return backend.in_flight, backend.index


def _score_usd(request: Asking, backend: Candidate) -> float:
    value = request.workload_class.value_of_time_usd_per_s
    cached = request.cached_tokens(backend)
    return backend.score_usd(request.input_tokens, request.expected_output_tokens, value, cached)
