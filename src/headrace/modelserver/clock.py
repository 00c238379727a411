"""The token clock: which step ends when, in the span that runs and in those before.

A server that runs in steps counts them. What a client sees of a job is the count as it was before, by the job's own lag
(`SpeedCurve.overhead_s`), the same for all tokens of the job.
"""

from __future__ import annotations

from collections import deque

from headrace.modelserver.span import Span


class TokenClock:
    """Spans done and the one that runs.

    Attributes:
        steps: steps done at the last boundary.
        at_s: time of that boundary.
        span: what runs from there on; None: nothing.
        least_lag_s: no job is seen sooner than that.
    """

    def __init__(self, least_lag_s: float) -> None:
        self.least_lag_s = self._longest_lag_s = least_lag_s
        self.steps = 0
        self.at_s = 0.0
        self.span: Span | None = None
        self._past: deque[Span] = deque()
        self._released_s = 0.0
        self._busy_s = 0.0

    def noted(self, lag_s: float) -> float:
        """The lag of a job that from now on asks when its steps ended."""
        if lag_s > self._longest_lag_s:
            self._longest_lag_s = lag_s
        return lag_s

    def end(self) -> Span | None:
        """The span is over: count its steps, and let nothing run. Returns it."""
        span, self.span = self.span, None
        if span is not None:
            self.steps += span.total
            self.at_s = span.end_s
            self._busy_s += span.end_s - span.start_s
            self._past.append(span)
        return span

    def forget(self, now_s: float) -> None:
        """Let go of spans that were delivered before the last call."""
        past = self._past
        while past and past[0].end_s + self._longest_lag_s < self._released_s:
            past.popleft()
        self._released_s = now_s

    def busy_s(self, now_s: float) -> float:
        """Seconds with a step in flight, up to `now_s`."""
        return self._busy_s + (0.0 if self.span is None else now_s - self.span.start_s)

    def delivered(self, now_s: float, lag_s: float) -> int:
        """Steps whose tokens a client has by `now_s` who sees them `lag_s` late."""
        span = self.span
        if span is not None and span.start_s + lag_s <= now_s:
            return span.mark + span.steps_by(now_s, lag_s)
        for past in reversed(self._past):
            if past.start_s + lag_s <= now_s:
                return past.mark + past.steps_by(now_s, lag_s)
        return self._past[0].mark if self._past else self.steps

    def end_of(self, step: int, next_s: float, growth_s: float) -> float | None:
        """When step number `step` ends; None if that was too long ago, or nothing runs.

        Args:
            next_s, growth_s: of the steps after the span: what one would take now, and how much longer it is for each
                step done before it.
        """
        span = self.span
        if step > self.steps:
            if span is None:
                return None
            beyond = step - span.mark - span.total
            if beyond > 0:
                return span.time_beyond(beyond, next_s + growth_s * span.total, growth_s)
            return span.time_after(step - span.mark)
        return next((past.time_after(step - past.mark) for past in reversed(self._past) if past.mark < step), None)
