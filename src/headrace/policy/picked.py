"""Choosing by a picker: the filter and everything around it stay the engine's."""

from __future__ import annotations

from random import Random
from typing import cast

from headrace.errors import InvariantError
from headrace.fleet import Fleet
from headrace.policy.choice import Choice, Chooser
from headrace.policy.limit import Best
from headrace.policy.limits import priced_limits
from headrace.policy.picker import Picker, PickerMaker
from headrace.policy.policies import Policy
from headrace.policy.prices import ReportedShare
from headrace.policy.pricing import BackendState
from headrace.policy.quota import declared_quotas
from headrace.policy.state import AttemptState, RequestState


class PickerChooser(Chooser):
    """Lets a picker choose among the free candidates, and holds it to them."""

    def __init__(
        self,
        fleet: Fleet,
        backends: tuple[BackendState, ...],
        shares: tuple[ReportedShare, ...],
        policy: Policy,
        maker: PickerMaker,
        rng: Random,
    ) -> None:
        quotas = declared_quotas(fleet, backends)
        super().__init__(fleet, backends, shares, priced_limits(fleet, backends, False, quotas), quotas)
        self._what = f"policy {policy.name!r}" + (f" (plug-in {policy.plug_in})" if policy.plug_in else "")
        try:
            made = maker(fleet, rng)
        except Exception as error:
            raise InvariantError(f"{self._what} could not be made: {_said(error)}; mend the plug-in") from error
        if not isinstance(made, Picker):
            raise InvariantError(f"{self._what} made {made!r}, which is no picker: it needs pick, dispatched and ended")
        self._picker = made

    def choose(self, now_s: float, request: RequestState) -> Choice | None:
        """What the picker says; None if nothing is free.

        Raises:
            InvariantError: the picker raised, or picked what is not free.
        """
        bests = self._bests(now_s, request)
        if not bests:
            return None
        tried = self.closed(now_s, request)
        i, o, longest_s = request.input_tokens, request.expected_output_tokens, self._longest_s
        candidates = request.candidates.backends
        free = [b for b in candidates if b.free(now_s) and not tried >> b.index & 1 and b.takes(i, o, longest_s)]
        if self.limits is not None:
            affordable = {best[3].pool for best in bests}
            free = [b for b in free if b.pool in affordable]
        try:
            picked: object = self._picker.pick(now_s, request, tuple(free))
        except Exception as error:
            raise InvariantError(
                f"{self._what} raised {_said(error)} at request {request.request_id}; mend the plug-in"
            ) from error
        if not any(picked is each for each in free):
            names = ", ".join(each.name for each in free)
            raise InvariantError(
                f"{self._what} picked {picked!r} for request {request.request_id}, which is not free; "
                f"it must return one of: {names}"
            )
        return self._with_scores(request, cast(BackendState, picked), bests)

    def _with_scores(self, request: RequestState, backend: BackendState, bests: list[Best]) -> Choice:
        """What was picked, with the scores that `prices` would compare: a dispatch says what it cost and might have."""
        value = request.workload_class.value_of_time_usd_per_s
        cached = request.cached_tokens(backend)
        score_usd = backend.score_usd(request.input_tokens, request.expected_output_tokens, value, cached)
        steered = self._steered_index
        outside = None if steered is None else min((b for b in bests if not b[4][steered]), default=None)
        return (backend, score_usd, None, None) if outside is None else (backend, score_usd, outside[3], outside[2])

    def book(self, now_s: float, request: RequestState, attempt: AttemptState) -> None:
        """Book a dispatch, and let the picker watch."""
        super().book(now_s, request, attempt)
        try:
            self._picker.dispatched(now_s, request, attempt.backend)
        except Exception as error:
            raise InvariantError(f"{self._what} raised {_said(error)} in dispatched; mend the plug-in") from error

    def ended(
        self,
        now_s: float,
        attempt: AttemptState,
        used_input: float,
        used_output: float,
        completed: bool,
        cached_input: int = 0,
    ) -> None:
        """True up an attempt, and let the picker watch."""
        super().ended(now_s, attempt, used_input, used_output, completed, cached_input)
        try:
            self._picker.ended(now_s, attempt.request, attempt.backend, completed)
        except Exception as error:
            raise InvariantError(f"{self._what} raised {_said(error)} in ended; mend the plug-in") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def chooser(
    fleet: Fleet,
    backends: tuple[BackendState, ...],
    shares: tuple[ReportedShare, ...],
    policy: Policy,
    rng: Random,
) -> Chooser:
    """What chooses for one engine under `policy`. Raises InvariantError: its maker did not make a picker."""
    if policy.maker is None:
        quotas = declared_quotas(fleet, backends)
        limits = priced_limits(fleet, backends, policy.steers, quotas)
        return Chooser(fleet, backends, shares, limits, quotas)
    return PickerChooser(fleet, backends, shares, policy, policy.maker, rng)
