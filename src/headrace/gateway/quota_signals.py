"""Rate-limit headers as signals: what a provider says is left of a quota goes to the policy engine, which reserves it.

Only limits on requests and on tokens as a whole are handed on: those that a quota of the fleet file can hold. The
window is as the header's name says, else as the dialect says of headers whose name does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headrace.fleet import Quota
from headrace.policy import SignalReceived, quota_signal
from headrace.wire.dialects import Dialect
from headrace.wire.rate_limit import rate_limit_headers, rate_limits


def quota_signals(
    backend: str, dialect: Dialect, quota: Quota, headers: Mapping[bytes, bytes], as_of_s: float, now_unix_s: float
) -> Iterator[SignalReceived]:
    """The signals that an answer's headers stand for.

    Args:
        as_of_s: when what they say was true, on the engine's clock.
        now_unix_s: the present, as seconds since 1970: absolute resets are measured from it.
    """
    windows = {} if dialect.rate_limits is None else dialect.rate_limits.windows
    for limit in rate_limits(rate_limit_headers(headers), now_unix_s):
        window = limit.window or windows.get(limit.of)
        if window is None or limit.of not in ("requests", "tokens"):
            continue
        if limit.remaining is not None:
            yield SignalReceived(backend, quota_signal("remaining", limit.of, window), limit.remaining, as_of_s)
        if quota.at_once and limit.reset_s is not None:
            yield SignalReceived(backend, quota_signal("reset", limit.of, window), limit.reset_s, as_of_s)
