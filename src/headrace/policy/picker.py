"""Pickers: how a policy chooses, where it does not choose by prices.

A choice has three parts, and only the last is a policy's own:

    filter   not drained, not full, breaker not open, not tried before        the engine, the same for every policy
    picker   one of those that are left                                       the policy
    after    books, queue, retries, breakers, ledger, journal                 the engine, the same for every policy

So no policy, whoever wrote it, can send a request to a backend that must not have it. `prices` is one of them; its
filter, score and picker are fused into one pass (`choice.py`), because scoring hundreds of backends is most of what the
engine does.

What a picker sees is read-only. It may keep what it likes of its own, and must be as pure as the engine: the same calls
give the same answers, and chance comes from the stream that it was made with. Else a journal does not run again to
identical actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol, runtime_checkable

from headrace.fleet import Fleet
from headrace.workload import WorkloadClass


class Candidate(Protocol):
    """A backend that may be picked now, as the engine knows it."""

    @property
    def index(self) -> int:
        """Its place in the fleet file, from 0: unique, so ties broken by it are broken for good."""

    @property
    def name(self) -> str:
        """Name in the fleet file."""

    @property
    def pool(self) -> str:
        """Name of its pool."""

    @property
    def in_flight(self) -> int:
        """Attempts dispatched to it and not ended."""

    @property
    def limit(self) -> int:
        """Most attempts that it may have in flight."""

    @property
    def kv_tokens(self) -> float:
        """Context tokens that its attempts are expected to hold."""

    @property
    def prefill_backlog_s(self) -> float:
        """Uncontended prefill seconds of its attempts that have no first token yet."""

    @property
    def failure_rate(self) -> float:
        """Chance that an attempt fails by its fault, smoothed."""

    @property
    def hit_factor(self) -> float:
        """How much of a predicted prefix hit comes true here, 0 to 1, smoothed."""

    def cost_usd(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> float:
        """Marginal cost of a request of this size, in USD; `cached_tokens` of its input are found in the cache."""

    def latency(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> tuple[float, float]:
        """(TTFT, TPOT) in seconds expected at its present load, as corrected by what was observed."""

    def alone_s(self, input_tokens: float, output_tokens: float) -> float:
        """E2E seconds of a request that has the backend to itself, as the speed model or its calibration says."""

    def score_usd(
        self,
        input_tokens: float,
        output_tokens: float,
        value_of_time_usd_per_s: float,
        cached_tokens: float = 0.0,
    ) -> float:
        """What the `prices` policy would ask: marginal cost, value of time and risk, in USD."""


class Asking(Protocol):
    """A request that is to be dispatched."""

    @property
    def request_id(self) -> int:
        """Unique within the engine."""

    @property
    def workload_class(self) -> WorkloadClass:
        """Its class, with SLO and value of time."""

    @property
    def tenant(self) -> str:
        """Who is billed."""

    @property
    def input_tokens(self) -> int:
        """As the driver estimated them."""

    @property
    def expected_output_tokens(self) -> float:
        """As predicted: nobody knows the true length."""

    @property
    def attempts(self) -> int:
        """Attempts made before this one."""

    def cached_tokens(self, backend: Candidate) -> float:
        """Input tokens that `backend` is expected to find in its prefix cache."""


@runtime_checkable
class Picker(Protocol):
    """Chooses a backend for each request of one engine. A subclass must have `pick`; the others are there to watch."""

    def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
        """One of `free`.

        Args:
            free: backends that may be picked, at least one, in the order of the fleet file.
        """
        ...

    def dispatched(self, now_s: float, request: Asking, backend: Candidate) -> None:
        """An attempt was dispatched to `backend`: what `pick` said."""

    def ended(self, now_s: float, request: Asking, backend: Candidate, completed: bool) -> None:
        """An attempt on `backend` is over: its answer was complete, or it failed or was cancelled."""


PickerMaker = Callable[[Fleet, Random], Picker]
