"""Rate-limit headers of an emulated provider, in that provider's names and encoding.

What is left is counted over fixed windows that begin with the emulator. The provider's own gate (`modelserver.quota`)
decides who is turned away; these are its words.
"""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.fleet import Quota
from headrace.wire.dialects import Dialect, ResetEncoding

WINDOW_S = {"minute": 60.0, "day": 86_400.0}


class RateHeaders:
    """Writes the headers of one backend, and counts what was used."""

    def __init__(self, dialect: Dialect, quota: Quota | None) -> None:
        self._limits = dialect.rate_limits if quota is not None else None
        self._quota = quota
        self._used: dict[tuple[str, int], float] = {}

    def used(self, now_s: float, tokens: int) -> None:
        """A request took this many tokens of the quota."""
        for window, length_s in WINDOW_S.items():
            for of, amount in (("requests", 1), ("tokens", tokens)):
                key = (f"{of}-{window}", int(now_s / length_s))
                self._used[key] = self._used.get(key, 0.0) + amount

    def lines(self, now_s: float, now_unix_s: float, retry_after_s: float | None = None) -> bytes:
        """The header lines at `now_s`.

        Args:
            retry_after_s: the request was turned away for this long: nothing is left until then.
        """
        if self._limits is None:
            return b""
        out = []
        for name in self._limits.headers:
            value = self._value(name, now_s, now_unix_s, retry_after_s)
            if value is not None:
                out.append(f"{name}: {value}\r\n")
        return "".join(out).encode()

    def _value(self, name: str, now_s: float, now_unix_s: float, retry_after_s: float | None) -> str | None:
        assert self._limits is not None
        of = "requests" if "requests" in name else "tokens"
        window = next((window for window in WINDOW_S if name.endswith(f"-{window}")), self._limits.windows.get(of))
        limit = None if window is None else getattr(self._quota, f"{of}_per_{window}")
        if window is None or limit is None:
            return None
        left_s = WINDOW_S[window] - now_s % WINDOW_S[window] if retry_after_s is None else retry_after_s
        if "reset" in name:
            return _reset(self._limits.encoding, left_s, now_unix_s)
        if "limit" in name.replace("ratelimit", ""):
            return f"{limit:.0f}"
        used = self._used.get((f"{of}-{window}", int(now_s / WINDOW_S[window])), 0.0)
        return "0" if retry_after_s is not None else f"{max(limit - used, 0.0):.0f}"


def _reset(encoding: ResetEncoding, left_s: float, now_unix_s: float) -> str:
    match encoding:
        case ResetEncoding.RFC_3339:
            return datetime.fromtimestamp(now_unix_s + left_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case ResetEncoding.GO_DURATION:
            minutes, seconds = divmod(left_s, 60.0)
            return f"{minutes:.0f}m{seconds:.3f}s" if minutes else f"{seconds:.3f}s"
        case _:
            return f"{left_s:.6f}"
