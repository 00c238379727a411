"""Predicting output length: what a price needs and nobody knows when a request comes.

Every request is priced at its *expected* length: cost, latency and work are linear in the length, so the mean of the
length gives the mean of the price. The mean is learnt from finished requests in bins of ever finer input length, each
shrunk towards the coarser one by a number of pseudo-requests:

    mean_k = (sum of lengths in bin k + shrink_k * mean_(k-1)) / (count in bin k + shrink_k)

from the class and tenant as a whole, over half octaves and eighths of an octave of input length, to the exact input
length (a template that is sent again and again has an input length of its own). A bin forgets: beyond `MEMORY`
requests an old one counts less, so the mean follows the traffic.

On the Azure 2023 traces this captures 74.4 % of what hindsight could, of a class mean's 71 % and of at most 74.5 % that
gradient boosting on input length, fitted offline, could reach (docs/decisions/2026-11-23-share-controller.md).
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import Final, Protocol

from headrace.policy.length_quantiles import LengthQuantiles, size_bin

SHRINK: Final = (20.0, 30.0, 10.0)
PRIOR_REQUESTS: Final = 1.0
MEMORY: Final = 1000.0
MAX_BINS: Final = 2048  # of one class, tenant and fineness
MAX_TRAFFIC: Final = 128  # classes times tenants

# Requests and output tokens by bin, oldest first. A dict would look for its oldest key past all that were dropped.
Bins = OrderedDict[int, list[float]]


class LengthPredictor(Protocol):
    """Predicts output tokens. The engine asks before a dispatch and tells after a finish."""

    def predict(self, request_id: int, workload_class: str, tenant: str, input_tokens: int) -> float:
        """Expected output tokens of this request, at least 1."""

    def observe(self, workload_class: str, tenant: str, input_tokens: int, output_tokens: int) -> None:
        """Learn from a finished request."""


class _Traffic:
    """Bins of one class and tenant: [requests, output tokens] as a whole, and by ever finer input length."""

    __slots__ = ("finer", "whole")

    def __init__(self, prior: float) -> None:
        self.whole = [PRIOR_REQUESTS, PRIOR_REQUESTS * prior]
        self.finer: tuple[Bins, ...] = (OrderedDict(), OrderedDict(), OrderedDict())


class BinnedPredictor:
    """Online mean of the output length by class, tenant and input length, from coarse to exact."""

    __slots__ = ("_priors", "_quantiles", "_traffic")

    def __init__(self, priors: dict[str, float]) -> None:
        """Args: `priors` gives the expected output tokens per class before anything has finished."""
        self._priors = dict(priors)
        self._traffic: dict[tuple[str, str], _Traffic] = {}
        self._quantiles: LengthQuantiles | None = None

    def know(self, priors: dict[str, float]) -> None:
        """There are these classes, too."""
        self._priors.update(priors)

    def predict(self, request_id: int, workload_class: str, tenant: str, input_tokens: int) -> float:
        """Expected output tokens, at least 1."""
        traffic = self._traffic.get((workload_class, tenant))
        if traffic is None:
            return max(self._priors[workload_class], 1.0)
        count, total = traffic.whole
        mean = total / count
        finer = traffic.finer
        for fineness, key in enumerate(_keys(input_tokens)):
            held = finer[fineness].get(key)
            if held is not None:
                shrink = SHRINK[fineness]
                mean = (held[1] + shrink * mean) / (held[0] + shrink)
        return mean if mean > 1.0 else 1.0

    def observe(self, workload_class: str, tenant: str, input_tokens: int, output_tokens: int) -> None:
        """Learn one finished request in every bin that holds it."""
        if self._quantiles is not None:
            self._quantiles.observe(workload_class, tenant, input_tokens, output_tokens)
        traffic = self._traffic.get((workload_class, tenant))
        if traffic is None:
            traffic = self._new_traffic(workload_class, tenant)
        learnt = [traffic.whole]
        for fineness, key in enumerate(_keys(input_tokens)):
            bins = traffic.finer[fineness]
            held = bins.get(key)
            if held is None:
                if len(bins) >= MAX_BINS:
                    bins.popitem(last=False)  # the oldest bin; a busy one is learnt again at once
                bins[key] = [1.0, float(output_tokens)]
            else:
                learnt.append(held)
        for held in learnt:
            count, total = held
            if count >= MEMORY:  # it is full, and forgets an old one
                total -= total / count
                count -= 1.0
            held[0] = count + 1.0
            held[1] = total + output_tokens

    def keep_quantile(self, level: float) -> None:
        """From now on learn this quantile, too; what was learnt of it stays."""
        if self._quantiles is None or self._quantiles.level != level:
            self._quantiles = LengthQuantiles(level)

    def quantile(self, workload_class: str, tenant: str, input_tokens: int) -> int | None:
        """Output tokens that the share of such requests which was asked for does not exceed; None: not known."""
        return None if self._quantiles is None else self._quantiles.quantile(workload_class, tenant, input_tokens)

    def _new_traffic(self, workload_class: str, tenant: str) -> _Traffic:
        if len(self._traffic) >= MAX_TRAFFIC:
            del self._traffic[next(iter(self._traffic))]
        made = self._traffic[workload_class, tenant] = _Traffic(self._priors[workload_class])
        return made


@lru_cache(maxsize=4096)  # asked before a dispatch and after the answer
def _keys(input_tokens: int) -> tuple[int, int, int]:
    """Keys of the half-octave, the eighth-octave and the exact bin: integers, the same on every machine."""
    eighth = size_bin(input_tokens)
    return eighth >> 2, eighth, input_tokens
