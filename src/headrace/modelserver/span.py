"""Spans: runs of steps whose times have a closed form.

While the batch stays as it is, every step is longer than the one before by the same amount: the context grows by one
token per sequence, and a prefill chunk attends to one chunk more. So n steps take n * first + growth * n (n - 1) / 2,
and the number of steps done by some time is the root of a quadratic. One irregular step may close a span: the one that
completes a prefill.
"""

from __future__ import annotations

from math import sqrt


class Span:
    """Steps between two changes of the batch.

    Attributes:
        start_s: when the first step begins.
        mark: steps that the server had done before.
        steps: regular steps.
        first_s: duration of the first regular step.
        growth_s: how much longer each regular step is than the one before.
        tail_s: duration of the irregular last step; None without one.
        total: all steps.
        end_s: when the last step ends.
    """

    __slots__ = ("end_s", "first_s", "growth_s", "mark", "start_s", "steps", "tail_s", "total")

    def __init__(
        self, start_s: float, mark: int, steps: int, first_s: float, growth_s: float, tail_s: float | None = None
    ) -> None:
        self.start_s = start_s
        self.mark = mark
        self.steps = steps
        self.first_s = first_s
        self.growth_s = growth_s
        self.tail_s = tail_s
        regular_s = start_s + steps * first_s + growth_s * (steps * (steps - 1) * 0.5)
        if tail_s is None:
            self.total = steps
            self.end_s = regular_s
        else:
            self.total = steps + 1
            self.end_s = regular_s + tail_s

    def time_after(self, steps: int) -> float:
        """When the first `steps` steps are done (0 to `total`)."""
        if steps > self.steps:
            return self.end_s
        return self.start_s + steps * self.first_s + self.growth_s * (steps * (steps - 1) * 0.5)

    def time_beyond(self, steps: int, first_s: float, growth_s: float) -> float:
        """When so many steps more are done after the end, the first of `first_s`, each longer by `growth_s`."""
        return self.end_s + steps * first_s + growth_s * (steps * (steps - 1) * 0.5)

    def steps_by(self, now_s: float, lag_s: float = 0.0) -> int:
        """Steps whose end, delivered `lag_s` later, is not after `now_s`."""
        if self.end_s + lag_s <= now_s:
            return self.total
        steps = min(self._estimate(now_s - lag_s - self.start_s), self.steps)
        while steps < self.steps and self.time_after(steps + 1) + lag_s <= now_s:
            steps += 1
        while steps > 0 and self.time_after(steps) + lag_s > now_s:
            steps -= 1
        return steps

    def boundary(self, now_s: float) -> int:
        """The first step boundary at or after `now_s`, as a number of steps. `now_s` is not after the end."""
        steps = self.steps_by(now_s)
        return steps if self.time_after(steps) >= now_s else steps + 1

    def cut(self, steps: int) -> None:
        """End after `steps` steps."""
        if steps < self.total:
            self.end_s = self.time_after(steps)
            self.steps = self.total = steps
            self.tail_s = None

    def _estimate(self, elapsed_s: float) -> int:
        """Steps in `elapsed_s`, right but for rounding."""
        if elapsed_s <= 0.0:
            return 0
        half = 0.5 * self.growth_s
        linear = self.first_s - half
        root = sqrt(linear * linear + 4.0 * half * elapsed_s)
        return int(2.0 * elapsed_s / (linear + root)) if linear + root > 0.0 else 0
