"""The price of a class's SLO: what a missed threshold costs while too many of its requests miss.

Where a class's SLO is `priced`, each of its requests pays on every candidate

    lambda * miss       miss = chance that the request misses a threshold there

and lambda, in USD per missed request and never below 0, follows what became of the class's requests, by dual ascent:

    lambda += GAIN * scale * ((1 if it missed else 0) - SAFETY * (1 - attainment))

So it rises while more requests miss than may, and falls while fewer do. `scale` is what avoiding one expected miss has
cost so far: score of the safest candidate less that of the cheapest, per difference of their chances.

The chance comes from the predicted TTFT and TPOT: observed over predicted is taken as log-normal around 1, with a
spread that is learnt for the class. A request that was rejected or has failed missed; one that its client gave up says
nothing.

What it does not do: other classes do not pay for the load by which they make this one miss.

Source: dual ascent on a chance constraint, as in `prices.py`.
"""

from __future__ import annotations

from math import erf, log, sqrt
from typing import Final

from headrace.policy.limit import Best, LimitView
from headrace.policy.state import AttemptState, RequestState
from headrace.workload import WorkloadClass

GAIN: Final = 0.05
SAFETY: Final = 0.8  # of the misses that are allowed: the rest is for what chance adds
SPREAD_PRIOR: Final = 0.1  # variance of log(observed / predicted)
LEARNING_RATE: Final = 0.02
HIGHEST: Final = 20.0  # of its scale: a limit that cannot be met leaves no price that takes hours to fall
MEMORY: Final = 0.995  # of a choice's weight in the scale, at the next one


class SloPrice:
    """Keeps one class's attainment at its target.

    Attributes:
        lambda_usd_per_miss: the price; at least 0.
    """

    def __init__(self, workload_class: WorkloadClass) -> None:
        self.name = workload_class.name
        self.lambda_usd_per_miss = self._start = workload_class.slo.starting_price_usd
        self._slo = workload_class.slo
        self._allowed = SAFETY * (1.0 - workload_class.slo.attainment)
        self._missed = 0.0  # fraction, smoothed
        self._ttft_spread = SPREAD_PRIOR
        self._tpot_spread = SPREAD_PRIOR
        self._paid_usd = 0.0
        self._avoided = 0.0

    def surcharged(self, bests: list[Best], request: RequestState) -> list[Best]:
        """Add the price of each candidate's chance to miss, and learn what avoiding a miss costs."""
        if request.workload_class.name != self.name or len(bests) < 2:
            return bests
        chances = [self._miss(request, best) for best in bests]
        cheapest = min(range(len(bests)), key=lambda k: bests[k][:2])
        safest = min(range(len(bests)), key=lambda k: (chances[k], bests[k][:2]))
        if chances[safest] < chances[cheapest]:
            self._paid_usd = MEMORY * self._paid_usd + bests[safest][0] - bests[cheapest][0]
            self._avoided = MEMORY * self._avoided + chances[cheapest] - chances[safest]
        price = self.lambda_usd_per_miss
        return [(best[0] + price * miss, *best[1:]) for best, miss in zip(bests, chances, strict=True)]

    def completed(self, now_s: float, attempt: AttemptState, output_tokens: float) -> None:
        """A request of the class has its whole answer."""
        if attempt.request.workload_class.name != self.name:
            return
        first_s = now_s if attempt.first_token_s is None else attempt.first_token_s
        self._ttft_spread = _learnt(self._ttft_spread, first_s - attempt.dispatched_s, attempt.ttft_s)
        tpot_s = None
        if output_tokens > 1.0:
            tpot_s = (now_s - first_s) / (output_tokens - 1.0)
            self._tpot_spread = _learnt(self._tpot_spread, tpot_s, attempt.tpot_s)
        self._learn(not self._slo.met(first_s - attempt.request.arrived_s, tpot_s))

    def lost(self, request: RequestState) -> None:
        """A request was rejected or has failed."""
        if request.workload_class.name == self.name:
            self._learn(True)

    def view(self) -> LimitView:
        """The limit now."""
        bound = 1.0 - self._slo.attainment
        return LimitView(f"classes.{self.name}.slo", "miss", bound, self._missed, self.lambda_usd_per_miss)

    def _learn(self, missed: bool) -> None:
        self._missed += LEARNING_RATE * (missed - self._missed)
        scale = self._paid_usd / self._avoided if self._avoided > 0.0 else 0.0
        moved = self.lambda_usd_per_miss + GAIN * scale * (missed - self._allowed)
        self.lambda_usd_per_miss = max(0.0, min(moved, max(HIGHEST * scale, self._start)))

    def _miss(self, request: RequestState, best: Best) -> float:
        backend, slo = best[3], self._slo
        i, o = request.input_tokens, request.expected_output_tokens
        ttft_s, tpot_s = backend.latency(i, o, request.cached_tokens(backend))
        met = 1.0 if slo.ttft_s is None else _below(slo.ttft_s, ttft_s, self._ttft_spread)
        return 1.0 - (met if slo.tpot_s is None else met * _below(slo.tpot_s, tpot_s, self._tpot_spread))


def _below(threshold: float, predicted: float, spread: float) -> float:
    """Chance that what was predicted turns out below the threshold: the normal distribution of its logarithm."""
    if predicted <= 0.0:
        return 1.0
    return 0.5 * (1.0 + erf(log(threshold / predicted) / sqrt(2.0 * spread)))


def _learnt(spread: float, observed: float, predicted: float) -> float:
    """The spread after one more; a factor of ten is as far as one observation counts."""
    if observed <= 0.0 or predicted <= 0.0:
        return spread
    off = max(-2.3, min(2.3, log(observed / predicted)))
    return max(spread + LEARNING_RATE * (off * off - spread), 1e-4)
