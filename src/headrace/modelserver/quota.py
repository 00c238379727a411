"""A provider's rate limits: what is taken when a request comes, and what comes back when it ends.

Each limit is a bucket (`headrace.bucket`). A request is admitted when every bucket holds what it asks for, and then
takes all of it at once:

    requests: 1
    tokens:   input tokens + the ceiling on its output, or what the provider assumes where there is none
              (where it does not reserve output: input tokens, and the output when the request has ended)

so a generous ceiling throttles its sender, whatever the answer's length (Cerebras documents this; it assumes an upper
bound where `max_completion_tokens` is missing). If the provider trues up, what was reserved and not used comes back
when the request ends, never beyond the limit. Cached input comes back at once where it does not count (Groq).

Source: the providers' rate-limit pages: reservation at admission (Cerebras), requests per day and tokens per minute
(both), cached tokens outside the limit (Groq), limits of an organisation that refill evenly (Cerebras). That buckets
refill evenly is an assumption where a provider does not say so.
"""

from __future__ import annotations

from headrace.errors import CapacityError, ModelRangeError, QuotaExceeded
from headrace.fleet import Quota
from headrace.modelserver.server import Job


class QuotaGate:
    """Admits requests as a provider does."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._most_in_flight = quota.max_in_flight
        self._limits = {"requests": quota.buckets("requests"), "tokens": quota.buckets("tokens")}
        self._requests = tuple(self._limits["requests"].values())
        self._tokens = tuple(self._limits["tokens"].values())

    def reserve(self, now_s: float, job: Job, in_flight: int) -> int:
        """Admit a job; returns the tokens that were reserved for it.

        Raises:
            CapacityError: as many requests are in flight as the provider takes at a time.
            QuotaExceeded: a limit is used up; it says when there is room.
            ModelRangeError: the request alone exceeds a limit.
        """
        tokens = self._quota.admitted_tokens(job.input_tokens, job.max_output_tokens)
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
        if self._quota.true_up or self._quota.reserve_output is False:
            self._take(now_s, 0.0, used - reserved)

    def stated(self, now_s: float, of: str, window: str) -> tuple[float, float, float] | None:
        """What a provider's headers say of a limit: (limit, remaining, seconds until reset); None: there is no limit.

        Args:
            of: `requests` or `tokens`; window: `minute` or `day`.
        """
        bucket = self._limits[of].get(window)
        return None if bucket is None else (bucket.limit, bucket.level(now_s), bucket.left_s(now_s))

    def _take(self, now_s: float, requests: float, tokens: float) -> None:
        for bucket in self._requests:
            bucket.take(now_s, requests)
        for bucket in self._tokens:
            bucket.take(now_s, tokens)
