"""Answers on their way from a backend to a client.

Nothing of an answer reaches the client before its first token: until then anything that goes wrong is the attempt's
failure, another backend takes over, and the client never notices. From the first token on the answer is committed: it
is handed on block by block as it comes, and if it breaks, the client's connection is closed without an end, because
an answer that was cut off must never look complete.

The blocks of a stream are kept by reference. Nobody looks at them unless the stream breaks or its client goes away:
then the events that carry content are counted, which bounds from below what was delivered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace.http import FailedKind, unframe
from headrace.policy import FailureKind
from headrace.wire import (
    FINISH_MARKS,
    BackendFault,
    ErrorKind,
    UsageFilter,
    completion_usage,
    count_content_events,
    has_token,
    stream_end,
    stream_error,
)

if TYPE_CHECKING:
    from headrace.gateway.attempt import Attempt

MAX_PREAMBLE_BYTES = 16 * 1024
MAX_KEPT_BYTES = 256 * 1024
KEPT_BLOCKS_AFTER_FOLD = 64
KEPT_BLOCKS_AT_LEAST = 8
END_BYTES = 16 * 1024
MAX_HELD_BYTES = 1024 * 1024
_MARK, _SPACED_MARK = FINISH_MARKS
_CLIENTS_FAULT = frozenset((ErrorKind.BAD_REQUEST, ErrorKind.CONTENT_FILTER, ErrorKind.CONTEXT_LENGTH))


def failure_kind(kind: FailedKind) -> FailureKind:
    """The engine's word for a failure of the connection."""
    return FailureKind(kind.value)


class StreamAnswer:
    """A stream of server-sent events, spliced.

    Attributes:
        wants_framed: blocks of whole chunks are handed on as they come.
    """

    __slots__ = (
        "_attempt",
        "_blocks",
        "_counted",
        "_end",
        "_filter",
        "_framed_preamble",
        "_guarded_block",
        "_kept_bytes",
        "_preamble",
        "_quiet_s",
        "_send",
        "_splicing",
        "_watch",
        "wants_framed",
    )

    def __init__(self, attempt: Attempt) -> None:
        self.wants_framed = True
        self._attempt = attempt
        self._send: Callable[[bytes], None] = attempt.request.exchange.write_raw
        self._watch = attempt.request.asked_usage
        self._splicing = False
        self._preamble: bytes | None = b""  # payload that came before the first token; None after it
        self._framed_preamble: bytes | None = b""  # the same as whole chunks; None if it did not come as such
        self._blocks: list[bytes] = []
        self._kept_bytes = 0
        self._counted = 0
        self._filter: UsageFilter | None = None
        self._end: list[bytes] = []  # payload since the finish reason passed by, if events are watched
        self._guarded_block: bytes | None = None
        self._quiet_s = 0.0

    # the hot path

    def on_framed(self, block: bytes) -> None:
        """Hand whole chunks on as they are."""
        if not self._splicing:
            self._on_framed_slowly(block)
            return
        # `find`, not `in`: for bytes, `in` first tries its operand as an integer and raises an exception inside.
        if self._watch and (block.find(_MARK) >= 0 or block.find(_SPACED_MARK) >= 0):
            self._watch_events(unframe(block))
            return
        self._blocks.append(block)
        self._kept_bytes += len(block)
        if self._kept_bytes > MAX_KEPT_BYTES:
            self._fold()
        self._send(block)

    # everything else

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head was read before this sink took over."""

    def on_data(self, data: bytes) -> None:
        """Payload that did not come as whole lines in whole chunks: frame it anew."""
        if self._attempt.ended:
            return
        if self._preamble is not None:
            self._framed_preamble = None
            self._begin(data)
        elif not self._watch:
            self._keep(data)
            self._attempt.request.exchange.write(data)
        else:
            self._filtered(data)

    def on_end(self, explicit: bool) -> None:
        """The body is complete; whether the answer is, its last events say."""
        attempt = self._attempt
        if attempt.ended:
            return
        if self._preamble is not None:
            attempt.failed(FailureKind.GARBAGE)
            return
        exchange = attempt.request.exchange
        if self._filter is not None:
            exchange.write(self._filter.flush())
        end = stream_end(self._last_bytes())
        finished = end.finished or (self._filter is not None and self._filter.watching_events)
        if finished and not end.failed and (explicit or end.done):
            delivered = None if end.usage is not None else self.delivered_tokens()
            attempt.finished(end.usage, delivered, exchange.finish)
        else:
            attempt.failed(FailureKind.RESET)

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke."""
        if not self._attempt.ended:
            self._attempt.failed(failure_kind(kind))

    def delivered_tokens(self) -> int:
        """Events with content that were handed on: a lower bound of the tokens that the client got."""
        return self._counted + count_content_events(unframe(b"".join(self._blocks)) + b"".join(self._end))

    def quiet(self, passed_s: float) -> float:
        """Seconds without a byte, as far as looking every `passed_s` seconds can tell; 0 before the first token."""
        last = self._end[-1] if self._end else (self._blocks[-1] if self._blocks else None)
        if last is None or last is not self._guarded_block:
            self._guarded_block = last
            self._quiet_s = 0.0
        else:
            self._quiet_s += passed_s
        return self._quiet_s

    def _on_framed_slowly(self, block: bytes) -> None:
        if self._attempt.ended:
            return
        if self._preamble is not None:
            if self._framed_preamble is not None:
                self._framed_preamble += block
            self._begin(unframe(block))
            return
        # Whole lines again, after data that was not: no mark can reach over the line's end.
        self._filter = None
        self._splicing = True
        self.on_framed(block)

    def _begin(self, payload: bytes) -> None:
        """Hold what comes before the first token."""
        preamble = (self._preamble or b"") + payload
        fault = stream_error(preamble)
        if fault is not None:
            self._attempt.refused(fault)
        elif has_token(preamble) or len(preamble) > MAX_PREAMBLE_BYTES:
            self._preamble = None
            self._splicing = True
            exchange = self._attempt.request.exchange
            self._attempt.start_answer()
            if self._framed_preamble is not None:
                self.on_framed(self._framed_preamble)
            else:
                self.on_data(preamble)
            self._framed_preamble = None
            exchange.flush()  # the first token does not wait for the round to end
            self._send = exchange.raw_sender()
            self._attempt.first_token()
            self._splicing = self._filter is None
        else:
            self._preamble = preamble

    def _filtered(self, data: bytes) -> None:
        """Pass payload through the usage filter, which is there from the first time on that lines are not whole."""
        usage_filter = self._filter
        if usage_filter is None:
            usage_filter = self._filter = UsageFilter(self._passed())
            self._splicing = False
        out = usage_filter.feed(data)
        if usage_filter.watching_events:
            self.wants_framed = False
            self._end.append(data)
        else:
            self._keep(data)
        self._attempt.request.exchange.write(out)

    def _watch_events(self, payload: bytes) -> None:
        """A finish reason is in sight: from here on look at each event."""
        self._splicing = False
        self._filter = None
        self._filtered(payload)

    def _passed(self) -> bytes:
        """The last few bytes of payload that were handed on: enough to know whether an event has ended."""
        return unframe(b"".join(self._blocks[-4:]))

    def _keep(self, payload: bytes) -> None:
        block = b"%x\r\n%b\r\n" % (len(payload), payload)
        self._blocks.append(block)
        self._kept_bytes += len(block)
        if self._kept_bytes > MAX_KEPT_BYTES:
            self._fold()

    def _fold(self) -> None:
        """Count the older kept blocks and let them go. An event cut by the fold is not counted: the bound holds."""
        old, self._blocks = self._blocks[:-KEPT_BLOCKS_AFTER_FOLD], self._blocks[-KEPT_BLOCKS_AFTER_FOLD:]
        self._counted += count_content_events(unframe(b"".join(old)))
        self._kept_bytes = sum(map(len, self._blocks))
        if self._kept_bytes > MAX_KEPT_BYTES // 2:
            self._counted += count_content_events(unframe(b"".join(self._blocks[:-KEPT_BLOCKS_AT_LEAST])))
            del self._blocks[:-KEPT_BLOCKS_AT_LEAST]
            self._kept_bytes = sum(map(len, self._blocks[1:]))

    def _last_bytes(self) -> bytes:
        if self._end:
            return b"".join(self._end)
        last: list[bytes] = []
        size = 0
        for block in reversed(self._blocks):
            last.append(block)
            size += len(block)
            if size > END_BYTES:
                break
        return unframe(b"".join(reversed(last)))


class JsonAnswer:
    """A whole JSON answer: held until it is complete, so that a break in the middle is still nobody's loss.

    One larger than `MAX_HELD_BYTES` is committed and handed on as it comes.
    """

    __slots__ = ("_attempt", "_guarded", "_held_bytes", "_pieces", "_quiet_s", "_started", "wants_framed")

    def __init__(self, attempt: Attempt) -> None:
        self.wants_framed = False
        self._attempt = attempt
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._started = False
        self._guarded: bytes | None = None
        self._quiet_s = 0.0

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head was read before this sink took over."""

    def on_framed(self, block: bytes) -> None:
        """Not asked for, but the same."""
        self.on_data(unframe(block))

    def on_data(self, data: bytes) -> None:
        """Hold a piece, or hand it on."""
        if self._attempt.ended:
            return
        self._pieces.append(data)
        if self._started:
            self._attempt.request.exchange.write(data)
            if len(self._pieces) > 2 * KEPT_BLOCKS_AFTER_FOLD:  # the beginning and the end are enough from here on
                del self._pieces[1:-KEPT_BLOCKS_AFTER_FOLD]
            return
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES:
            self._started = True
            self._attempt.first_token()
            self._attempt.start_answer()
            self._attempt.request.exchange.write(b"".join(self._pieces))

    def on_end(self, explicit: bool) -> None:
        """Complete, if it is JSON."""
        attempt = self._attempt
        if attempt.ended:
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if self._started and not explicit:  # the end of the connection is no proof, and what came is not all here
            attempt.failed(FailureKind.RESET)
            return
        try:
            usage = completion_usage(body, whole=explicit)
        except ValueError:
            attempt.failed(FailureKind.GARBAGE)
            return
        exchange = attempt.request.exchange
        if self._started:
            attempt.finished(usage, None, exchange.finish)
        else:
            head = attempt.answer_head()
            attempt.finished(usage, None, lambda: exchange.respond(200, head, body))

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke."""
        if not self._attempt.ended:
            self._attempt.failed(failure_kind(kind))

    def delivered_tokens(self) -> int:
        """Nothing of an answer that is not complete is of use."""
        return 0

    def quiet(self, passed_s: float) -> float:
        """Seconds without a piece of an answer that is handed on; before that the engine's answer timeout guards it."""
        if not self._started or self._guarded is not self._pieces[-1]:
            self._guarded = self._pieces[-1] if self._started else None
            self._quiet_s = 0.0
        else:
            self._quiet_s += passed_s
        return self._quiet_s


class ErrorAnswer:
    """The backend answers with an error: what it says decides whether another backend is asked, or the client told.

    Its body is read for that, as far as it is short and comes; else the status alone decides.
    """

    __slots__ = ("_attempt", "_pieces", "_read", "_size", "wants_framed")

    def __init__(self, attempt: Attempt, read: Callable[[bytes], BackendFault]) -> None:
        self.wants_framed = False
        self._attempt = attempt
        self._read = read
        self._pieces: list[bytes] = []
        self._size = 0

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head was read before this sink took over."""

    def on_framed(self, block: bytes) -> None:
        """Not asked for, but the same."""
        self.on_data(unframe(block))

    def on_data(self, data: bytes) -> None:
        """Hold a piece."""
        if self._attempt.ended:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_HELD_BYTES:
            self._attempt.failed(FailureKind.GARBAGE)

    def on_end(self, explicit: bool) -> None:
        """All of it is here."""
        if not self._attempt.ended:
            body = b"".join(self._pieces)
            self._attempt.refused(self._read(body), body)

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke before the error was complete: only what is not the client's fault is believed."""
        if self._attempt.ended:
            return
        fault = self._read(b"")
        if fault.kind in _CLIENTS_FAULT:
            self._attempt.failed(failure_kind(kind))
        else:
            self._attempt.refused(fault)

    def delivered_tokens(self) -> int:
        """An error has no tokens."""
        return 0

    def quiet(self, passed_s: float) -> float:
        """Short; the first-byte timeout of the engine guards it."""
        return 0.0


Answer = StreamAnswer | JsonAnswer | ErrorAnswer
