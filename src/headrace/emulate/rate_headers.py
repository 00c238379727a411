"""Rate-limit headers of an emulated provider, in that provider's names and encoding.

They say what the provider's own gate (`modelserver.quota`) holds when the head of the answer is written.
"""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.fleet.quota import WINDOWS_S
from headrace.modelserver import QuotaGate
from headrace.wire.dialects import Dialect, ResetEncoding


class RateHeaders:
    """Writes the headers of one backend."""

    def __init__(self, dialect: Dialect, gate: QuotaGate | None) -> None:
        """
        Args:
            gate: what they speak of; None: there are none.
        """
        self._limits = dialect.rate_limits
        self._gate = gate

    def lines(self, now_s: float, now_unix_s: float) -> bytes:
        """The header lines at `now_s`."""
        if self._limits is None or self._gate is None:
            return b""
        values = ((name, self._value(self._gate, name, now_s, now_unix_s)) for name in self._limits.headers)
        return "".join(f"{name}: {value}\r\n" for name, value in values if value is not None).encode()

    def _value(self, gate: QuotaGate, name: str, now_s: float, now_unix_s: float) -> str | None:
        assert self._limits is not None
        of = "requests" if "requests" in name else "tokens"
        window = next((window for window in WINDOWS_S if name.endswith(f"-{window}")), self._limits.windows.get(of))
        stated = None if window is None else gate.stated(now_s, of, window)
        if stated is None:
            return None
        limit, remaining, reset_s = stated
        if "reset" in name:
            return _reset(self._limits.encoding, reset_s, now_unix_s)
        return f"{int(limit if 'limit' in name.replace('ratelimit', '') else max(remaining, 0.0))}"


def _reset(encoding: ResetEncoding, left_s: float, now_unix_s: float) -> str:
    match encoding:
        case ResetEncoding.RFC_3339:
            return datetime.fromtimestamp(now_unix_s + left_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case ResetEncoding.GO_DURATION:
            minutes, seconds = divmod(left_s, 60.0)
            return f"{minutes:.0f}m{seconds:.3f}s" if minutes else f"{seconds:.3f}s"
        case _:
            return f"{left_s:.6f}"
