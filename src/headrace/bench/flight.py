"""One request on its way: what the client sees of it, from the send to its one end.

Bytes are kept by reference and looked at just enough to know when tokens came. Only the last events are decoded, when
the stream has ended: an answer counts as complete if it gave a finish reason *and* `[DONE]`, and as failed otherwise,
however politely the connection ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter

from headrace.http import FailedKind
from headrace.wire import StreamEnd, Usage, has_token, stream_end
from headrace.workload import Request

_KEPT_PIECES = 64  # more than the last events of a stream are ever cut into


class Flight:
    """A sink for one response. Times are `perf_counter` seconds.

    Attributes:
        outcome: None while on its way; then completed, rejected, failed or cancelled.
        error: short name of what went wrong; None if nothing did.
        first_token_s, last_token_s: when the first and the last piece with tokens came.
        tokens_seen: tokens that came, as far as events show; exact counts are in `usage`.
        backend: what the gateway said it chose.
    """

    wants_framed = False

    __slots__ = (
        "_on_ended",
        "_pieces",
        "backend",
        "ended_s",
        "error",
        "first_token_s",
        "last_token_s",
        "outcome",
        "request",
        "sent_s",
        "status",
        "tokens_seen",
        "usage",
    )

    def __init__(self, request: Request, sent_s: float, on_ended: Callable[[Flight], None]) -> None:
        self.request = request
        self.sent_s = sent_s
        self.status: int | None = None
        self.backend: str | None = None
        self.first_token_s: float | None = None
        self.last_token_s: float | None = None
        self.ended_s: float | None = None
        self.tokens_seen = 0
        self.usage: Usage | None = None
        self.outcome: str | None = None
        self.error: str | None = None
        self._pieces: deque[bytes] = deque(maxlen=_KEPT_PIECES)
        self._on_ended = on_ended

    @property
    def output_tokens(self) -> int:
        """Tokens of the answer: the backend's count, else what was seen."""
        return self.tokens_seen if self.usage is None else self.usage.output_tokens

    @property
    def ttft_s(self) -> float | None:
        """Request sent to first output token received."""
        return None if self.first_token_s is None else self.first_token_s - self.sent_s

    @property
    def tpot_s(self) -> float | None:
        """(last token time - first token time) / (output tokens - 1); None below two tokens."""
        if self.first_token_s is None or self.last_token_s is None or self.output_tokens < 2:
            return None
        return (self.last_token_s - self.first_token_s) / (self.output_tokens - 1)

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The response head came."""
        self.status = status
        backend = headers.get(b"x-headrace-backend")
        self.backend = None if backend is None else backend.decode("latin-1")

    def on_framed(self, block: bytes) -> None:
        """Never called: `wants_framed` is False."""

    def on_data(self, data: bytes) -> None:
        """A piece of the answer came."""
        pieces = self._pieces
        pieces.append(data)
        if has_token(data) or (self.first_token_s is None and has_token(b"".join(pieces))):
            self.last_token_s = perf_counter()
            if self.first_token_s is None:
                self.first_token_s = self.last_token_s
            self.tokens_seen += data.count(b"data: {") or 1

    def on_end(self, explicit: bool) -> None:
        """The body is complete: was the answer?"""
        if self.outcome is not None:
            return
        if self.status != 200:
            self.end("rejected", f"HTTP {self.status}")
            return
        end = stream_end(b"".join(self._pieces))
        self.usage = end.usage
        fault = _fault(end) or (None if explicit else "connection closed without an end")
        self.end("completed" if fault is None else "failed", fault)

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The response broke."""
        self.end("failed", f"connection {kind}" if self.status is None else f"stream {kind}")

    def end(self, outcome: str, error: str | None) -> None:
        """End the request, once; later ends change nothing."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        self.error = error
        self.ended_s = perf_counter()
        self._pieces.clear()
        self._on_ended(self)


def _fault(end: StreamEnd) -> str | None:
    """Why a stream that ended is not a complete answer."""
    if end.failed:
        return "stream carried an error"
    if not end.finished:
        return "stream without finish_reason"
    return None if end.done else "stream without [DONE]"
