"""How late first tokens come, by class: a quantile of observed over predicted TTFT, and what waits beyond it.

The quantile q of the ratio is tracked by stochastic approximation: up by a step of q when a ratio lies above it, down
by one of 1 - q when it lies below. Beyond it the ratio's tail is taken to be a power law, so what is left of a wait is
proportional to how long it has lasted.

Sources: H. Robbins, S. Monro, "A Stochastic Approximation Method", Annals of Mathematical Statistics 22 (1951); J.
Pickands, "Statistical Inference Using Extreme Order Statistics", Annals of Statistics 3 (1975): the mean excess of a
power law grows in proportion to the threshold.
"""

from __future__ import annotations

from math import exp
from typing import Final

STEP: Final = 0.05
HIGHEST: Final = 10.0  # times the prediction; the factors of prices end there too
FIRST_FACTOR: Final = 3.0
FIRST_EXCESS: Final = 1.0


class Lateness:
    """How late first tokens of one class come.

    Attributes:
        factor: times the predicted TTFT; what takes longer is late.
        excess: mean of how much longer it then takes, as a fraction of that.
    """

    __slots__ = ("_down", "_up", "excess", "factor")

    def __init__(self, quantile: float) -> None:
        self.factor = FIRST_FACTOR
        self.excess = FIRST_EXCESS
        self._up = exp(STEP * quantile)
        self._down = exp(-STEP * (1.0 - quantile))

    def observe(self, predicted_s: float, observed_s: float) -> None:
        """One first token came, or was overtaken when it had taken so long."""
        factor = self.factor
        late_s = factor * predicted_s
        if observed_s <= late_s:
            lower = factor * self._down
            self.factor = lower if lower > 1.0 else 1.0
        elif late_s > 0.0:
            self.excess += STEP * (min(observed_s / late_s - 1.0, HIGHEST) - self.excess)
            self.factor = min(factor * self._up, HIGHEST)
