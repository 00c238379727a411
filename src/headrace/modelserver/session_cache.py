"""A provider's prefix cache as seen from outside: what was sent is remembered for a while.

How much memory it has is not known, only for how long a prefix is kept after its last use (the TTL). A hit is the
leading run of blocks that are remembered, at most all but the last input token; a hit renews them. A block counts from
when its prefill is done.
"""

from __future__ import annotations

from collections import OrderedDict

from headrace.modelserver.server import Job


class SessionCache:
    """Remembers block hashes for `ttl_s` seconds after their last use."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._used: OrderedDict[int, tuple[float, float]] = OrderedDict()  # hash -> (there from, last used)

    def __len__(self) -> int:
        return len(self._used)

    def found_tokens(self, now_s: float, job: Job) -> int:
        """Input tokens of the job that need no prefill."""
        self._expire(now_s)
        block_tokens, count = job.prefix_block_tokens, 0
        if not job.prefix or block_tokens < 1:
            return 0
        for block in job.prefix[: (job.input_tokens - 1) // block_tokens]:
            since = self._used.get(block)
            if since is None or since[0] > now_s:
                break
            count += 1
        return count * block_tokens

    def enter(self, now_s: float, there_s: float, job: Job) -> None:
        """The job uses its whole blocks now; those that are new are there from `there_s` on."""
        whole = job.prefix[: job.input_tokens // job.prefix_block_tokens] if job.prefix_block_tokens else ()
        for block in whole:
            since_s = min(there_s, self._used.pop(block, (there_s, 0.0))[0])
            self._used[block] = (since_s, now_s)

    def _expire(self, now_s: float) -> None:
        used = self._used
        while used and next(iter(used.values()))[1] < now_s - self._ttl_s:
            used.popitem(last=False)
