"""A provider's rate limits: what is taken when a request comes, and what comes back when it ends.

Each limit is a token bucket of size `limit` that refills evenly over its window. A request is admitted when every
bucket holds what it asks for, and then takes all of it at once:

    requests: 1
    tokens:   input tokens + the ceiling on its output, or what the provider assumes where there is none

so a generous ceiling throttles its sender, whatever the answer's length (Cerebras documents this; it assumes an upper
bound where `max_completion_tokens` is missing). If the provider trues up, what was reserved and not used comes back
when the request ends, never beyond the limit. Cached input comes back at once where it does not count (Groq).

Source: the providers' rate-limit pages: reservation at admission (Cerebras), requests per day and tokens per minute
(both), cached tokens outside the limit (Groq). That buckets refill evenly is an assumption where a provider does not
say so.

Law: in any window of length w no more than limit * (1 + w / window) is taken and kept; a request that waits as long as
it was told is admitted if nobody came in between.
"""

from __future__ import annotations

from typing import Final

from headrace.errors import CapacityError, ModelRangeError, QuotaExceeded
from headrace.fleet import Quota
from headrace.modelserver.server import Job
from headrace.units import SECONDS_PER_DAY, SECONDS_PER_MINUTE

ROUNDING: Final = 1e-9


class Bucket:
    """One limit.

    Attributes:
        limit: what fits, and what refills in `window_s` seconds.
    """

    def __init__(self, limit: float, window_s: float) -> None:
        self.limit = limit
        self._declared = limit
        self._window_s = window_s
        self._per_s = limit / window_s
        self._level = limit
        self._as_of_s = 0.0

    def grant(self, now_s: float, fraction: float, pace: float) -> None:
        """From now on `fraction` of the declared limit, refilled `pace` times as fast as on this clock."""
        level = self.level(now_s)
        self.limit = self._declared * fraction
        self._per_s = self.limit / self._window_s * pace
        self._level = min(level, self.limit)
        self._as_of_s = now_s

    def level(self, now_s: float) -> float:
        """What is there now; negative when more was used than had been reserved."""
        return min(self.limit, self._level + (now_s - self._as_of_s) * self._per_s)

    def wait_s(self, now_s: float, amount: float) -> float:
        """Seconds until `amount` is there; 0 if it is."""
        missing = amount - self.level(now_s)
        return missing / self._per_s if missing > ROUNDING * self.limit else 0.0

    def take(self, now_s: float, amount: float) -> None:
        """Take `amount`, or give back a negative one."""
        self._level = min(self.limit, self.level(now_s) - amount)
        self._as_of_s = now_s


class QuotaGate:
    """Admits requests as a provider does."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._most_in_flight = quota.max_in_flight
        self._requests = _buckets(quota.requests_per_minute, quota.requests_per_day)
        self._tokens = _buckets(quota.tokens_per_minute, quota.tokens_per_day)

    def reserve(self, now_s: float, job: Job, in_flight: int) -> int:
        """Admit a job; returns the tokens that were reserved for it.

        Raises:
            CapacityError: as many requests are in flight as the provider takes at a time.
            QuotaExceeded: a limit is used up; it says when there is room.
            ModelRangeError: the request alone exceeds a limit.
        """
        ceiling = job.max_output_tokens
        tokens = job.input_tokens + (self._quota.assumed_output_tokens if ceiling is None else ceiling)
        for bucket in self._tokens:
            if tokens > bucket.limit:
                raise ModelRangeError(
                    f"job {job.job_id}: {tokens} tokens with its ceiling on output, of a limit of {bucket.limit:g}; "
                    "lower max_completion_tokens, or send it elsewhere"
                )
        if self._most_in_flight is not None and in_flight >= self._most_in_flight:
            raise CapacityError(f"provider: {in_flight} requests in flight are as many as it takes; try again later")
        wait_s = max(
            [bucket.wait_s(now_s, 1.0) for bucket in self._requests]
            + [bucket.wait_s(now_s, tokens) for bucket in self._tokens],
            default=0.0,
        )
        if wait_s > 0.0:
            raise QuotaExceeded(f"provider: rate limit reached; try again in {wait_s:.3g} s", wait_s)
        self._take(now_s, 1.0, tokens)
        return tokens

    def grant(self, now_s: float, fraction: float, pace: float = 1.0) -> None:
        """Grant `fraction` of every declared limit from now on; of requests at the same time at least one.

        Args:
            pace: seconds that pass outside while one passes on the clock of `now_s`.
        """
        for bucket in (*self._requests, *self._tokens):
            bucket.grant(now_s, fraction, pace)
        most = self._quota.max_in_flight
        self._most_in_flight = None if most is None else max(1, int(most * fraction))

    def cached(self, now_s: float, tokens: int) -> int:
        """Give back cached input where it does not count; returns how much."""
        if self._quota.count_cached:
            return 0
        self._take(now_s, 0.0, -tokens)
        return tokens

    def true_up(self, now_s: float, reserved: int, used: int) -> None:
        """A request ended: give back, if the provider does, what it did not use, or take what it used beyond."""
        if self._quota.true_up:
            self._take(now_s, 0.0, used - reserved)

    def _take(self, now_s: float, requests: float, tokens: float) -> None:
        for bucket in self._requests:
            bucket.take(now_s, requests)
        for bucket in self._tokens:
            bucket.take(now_s, tokens)


def _buckets(per_minute: float | None, per_day: float | None) -> tuple[Bucket, ...]:
    limits = ((per_minute, SECONDS_PER_MINUTE), (per_day, SECONDS_PER_DAY))
    return tuple(Bucket(limit, window_s) for limit, window_s in limits if limit is not None)
