"""High quantiles of output lengths: what an answer will probably not exceed.

A mean prices a request; a ceiling needs a quantile. Lengths are counted in buckets an eighth of an octave wide, per
class and tenant as a whole and per half octave of input length; the quantile is the upper edge of its bucket, so it
errs by an eighth at most, and upwards. Nothing is said before enough has been seen that the quantile is not just the
longest answer so far. A histogram forgets: when it is full, all its counts are halved.

Source: histograms with exponential buckets, as in HdrHistogram (G. Tene) and Prometheus's native histograms.
"""

from __future__ import annotations

from typing import Final

MAX_TRAFFIC: Final = 128  # classes times tenants
KEPT: Final = 1000.0  # answers that a histogram counts at least before it forgets
FULL: Final = 8.0  # times as many answers as a quantile needs: it is full
_WHOLE: Final = -1  # the bin of all input lengths


def size_bin(tokens: int) -> int:
    """The eighth of an octave that a length lies in: an integer, the same on every machine."""
    size = tokens if tokens > 1 else 1
    octave = size.bit_length() - 1
    return octave * 8 + (((size << 3) >> octave) & 7)


def _longest_of(size: int) -> int:
    """The longest length in an eighth of an octave."""
    octave, eighth = divmod(size, 8)
    return -(-((9 + eighth) << octave) // 8) - 1


class _Histogram:
    """Counts lengths."""

    __slots__ = ("count", "counts")

    def __init__(self) -> None:
        self.count = 0.0
        self.counts: list[float] = []

    def add(self, output_tokens: int, full: float) -> None:
        if self.count >= full:
            self.counts = [count / 2.0 for count in self.counts]
            self.count /= 2.0
        bucket = size_bin(output_tokens)
        self.counts += [0.0] * (bucket + 1 - len(self.counts))
        self.counts[bucket] += 1.0
        self.count += 1.0

    def at(self, level: float) -> int:
        below = 0.0
        for bucket, count in enumerate(self.counts):
            below += count
            if below >= level * self.count:
                return _longest_of(bucket)
        return _longest_of(len(self.counts) - 1)


class LengthQuantiles:
    """One quantile of the output length by class, tenant and input length.

    Attributes:
        level: of the quantile, in (0, 1).
    """

    def __init__(self, level: float) -> None:
        self.level = level
        self._needed = 1.0 / (1.0 - level)
        self._full = max(KEPT, FULL * self._needed)
        self._traffic: dict[tuple[str, str], dict[int, _Histogram]] = {}

    def observe(self, workload_class: str, tenant: str, input_tokens: int, output_tokens: int) -> None:
        """Count a finished request."""
        key = workload_class, tenant
        if key not in self._traffic and len(self._traffic) >= MAX_TRAFFIC:
            del self._traffic[next(iter(self._traffic))]
        bins = self._traffic.setdefault(key, {})
        for size in (_WHOLE, size_bin(input_tokens) >> 2):
            bins.setdefault(size, _Histogram()).add(output_tokens, self._full)

    def quantile(self, workload_class: str, tenant: str, input_tokens: int) -> int | None:
        """Tokens that a share `level` of such requests does not exceed; None: too few have been seen."""
        bins = self._traffic.get((workload_class, tenant), {})
        for size in (size_bin(input_tokens) >> 2, _WHOLE):
            held = bins.get(size)
            if held is not None and held.count >= self._needed:
                return held.at(self.level)
        return None
