"""Answers on their way from a backend to a client.

Nothing of an answer reaches the client before its first token: until then anything that goes wrong is the attempt's
failure, another backend takes over, and the client never notices. From the first token on the answer is committed: it
is handed on block by block as it comes. If it breaks, another backend goes on where it stopped (`rescue`), or the
client's connection is closed without an end, because an answer that was cut off must never look complete.

The blocks of a stream are kept by reference. Nobody looks at them unless the stream breaks or its client goes away:
then they are read, and say what was delivered. Of a long stream the older blocks are read on the way and become text.

Two things make it possible to go on where a stream stopped. No client is left with half a line: what does not come as
whole chunks of whole lines is handed on as whole events. And an event that carries an error is not handed on at all:
one look at each block finds it, for inside a string its quotes would be escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace.gateway.answer import failure_kind
from headrace.gateway.rescue import Rescue, rescue_of_stream
from headrace.http import FailedKind, unframe
from headrace.policy import FailureKind
from headrace.wire import FINISH_MARKS, UsageFilter, stream_error
from headrace.wire.apis.errors import said_failure
from headrace.wire.resume import Delivered
from headrace.wire.splices import SPLICES, errors_apart, is_whole, missing_line_ends, token_estimate
from headrace.wire.sse import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from headrace.gateway.attempt import Attempt

MAX_KEPT_BYTES = 256 * 1024
KEPT_BLOCKS_AFTER_FOLD = 64
KEPT_BLOCKS_AT_LEAST = 8
_MARK, _SPACED_MARK = FINISH_MARKS
_ABORTED = b'"abort"'  # the finish reason of an answer that its server gave up
_ERROR = b'"error"'  # a key or a value: the one thing that every error has and hardly any other event


class StreamAnswer:
    """A stream of server-sent events, spliced.

    Attributes:
        wants_framed: blocks of whole chunks are handed on as they come.
    """

    __slots__ = (
        "_attempt",
        "_blocks",
        "_counted",
        "_delivered",
        "_end",
        "_filter",
        "_finish_passed",
        "_framed_preamble",
        "_guarded_block",
        "_held",
        "_held_bytes",
        "_kept_bytes",
        "_measured",
        "_opening",
        "_preamble",
        "_quiet_s",
        "_send",
        "_shown",
        "_splice",
        "_splicing",
        "_spoken",
        "_watch",
        "wants_framed",
    )

    def __init__(self, attempt: Attempt) -> None:
        self.wants_framed = True
        self._attempt = attempt
        self._splice = SPLICES[attempt.request.api]
        self._send: Callable[[bytes], None] = attempt.request.exchange.write_raw
        self._watch = attempt.request.asked_usage
        self._splicing = False
        self._preamble: bytes | None = b""  # payload that came before the first token; None after it
        self._framed_preamble: bytes | None = b""  # the same as whole chunks; None if it did not come as such
        self._blocks: list[bytes] = []
        self._kept_bytes = 0
        self._counted = 0
        self._opening = b""  # what came up to the first token, where the stream's end needs it
        self._finish_passed = False  # the last event began in a block that is not kept
        self._filter: UsageFilter | None = None
        self._end: list[bytes] = []  # payload since the finish reason passed by, if events are watched
        self._shown: list[bytes] = []  # of this, what was handed on
        self._held: list[bytes] = []  # the beginning of an event whose end has not come
        self._held_bytes = 0
        self._delivered: Delivered | None = None  # what was let go of, read
        self._measured = 0  # of the kept blocks, those whose tokens are in `_spoken`
        self._spoken = 0
        self._guarded_block: bytes | None = None
        self._quiet_s = 0.0

    # the hot path

    def on_framed(self, block: bytes) -> None:
        """Hand whole chunks on as they are."""
        if not self._splicing:
            self._on_framed_slowly(block)
            return
        # Of the ways to ask whether bytes hold others, `partition` is the cheapest where they do not: `in` first tries
        # its operand as an integer and raises an exception inside, `find` parses its arguments by a format.
        if block.partition(_ERROR)[1] and self._fails(unframe(block)):
            return
        if self._watch and (block.partition(_MARK)[1] or block.partition(_SPACED_MARK)[1]):
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
            return
        events = self._whole_events(data)
        if self._held_bytes > MAX_EVENT_BYTES:
            self._attempt.failed(FailureKind.GARBAGE)
            return
        if events:
            self._pass_on(events)

    def _pass_on(self, events: bytes) -> None:
        """Hand whole events on."""
        if events.find(_ERROR) >= 0 and self._fails(events):
            return
        if not self._watch:
            self._keep(events)
            self._attempt.request.exchange.write(events)
        else:
            self._filtered(events)

    def on_end(self, explicit: bool) -> None:
        """The body is complete; whether the answer is, its last events say."""
        attempt = self._attempt
        if attempt.ended:
            return
        if self._preamble is not None:
            attempt.failed(FailureKind.GARBAGE)
            return
        rest = b"".join(self._held)
        whole, last = is_whole(rest), self._last_bytes() + rest
        closing = missing_line_ends(last)
        rest, last = rest + closing, last + closing
        end = self._splice.end(self._opening, last, self._finish_passed)
        finished = end.finished or (self._filter is not None and self._filter.watching_events)
        if finished and not end.failed and (explicit or end.done) and whole:
            exchange = attempt.request.exchange
            exchange.write(rest if self._filter is None else self._filter.feed(rest) + self._filter.flush())
            delivered = None if end.usage is not None else self.delivered_tokens()
            attempt.remember(lambda: last)
            attempt.finished(end.usage, delivered, exchange.finish)
        else:
            attempt.failed(FailureKind.CUT)

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke."""
        if not self._attempt.ended:
            self._attempt.failed(failure_kind(kind))

    def delivered_tokens(self) -> int:
        """Events with content that were handed on: a lower bound of the tokens that the client got."""
        return self._counted + self._splice.count(unframe(b"".join(self._blocks)) + b"".join(self._end))

    def broken(self) -> Rescue:
        """How the answer, which has begun and is broken, can be gone on with."""
        attempt = self._attempt
        delivered = self._delivered or Delivered(attempt.request.api, attempt.rescue_max_bytes)
        delivered.feed(unframe(b"".join(self._blocks)) + b"".join(self._shown))
        rescue = rescue_of_stream(attempt.request, delivered, attempt.answer_id)
        if rescue.progress.finished is not None:
            rescue.usage = self._splice.end(self._opening, self._last_bytes(), self._finish_passed).usage
        return rescue

    def ending(self) -> bytes:
        """The events since the finish reason, or the last ones."""
        return self._last_bytes()

    def spoken_tokens(self) -> int:
        """Tokens of the answer by now, estimated from its text; costs a look at what came since the last time."""
        new, self._measured = self._blocks[self._measured :], len(self._blocks)
        self._spoken += token_estimate(unframe(b"".join(new)))
        return self._spoken

    def quiet(self, passed_s: float) -> float:
        """Seconds without a byte, as far as looking every `passed_s` seconds can tell; 0 before the first token."""
        last = next((pieces[-1] for pieces in (self._held, self._end, self._blocks) if pieces), None)
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
        if self._held:
            self.on_data(unframe(block))
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
        elif self._splice.begun(preamble) or len(preamble) > self._splice.preamble_bytes:
            self._preamble = None
            if self._splice.keeps_preamble:
                self._opening = preamble
            self._splicing = True
            exchange = self._attempt.request.exchange
            self._attempt.start_answer()
            if self._framed_preamble is not None:
                self.on_framed(self._framed_preamble)
            else:
                self.on_data(preamble)
            self._framed_preamble = None
            if self._attempt.ended:
                return
            exchange.flush()  # the first token does not wait for the round to end
            self._send = exchange.raw_sender()
            self._attempt.first_token()
            self._splicing = self._filter is None
        else:
            self._preamble = preamble

    def _whole_events(self, data: bytes) -> bytes:
        """What can be handed on of these bytes and those that were held: whole events."""
        before = self._held[-1][-2:] if self._held else b""  # a blank line may be cut anywhere
        window = before + data
        end = max(window.rfind(b"\n\n") + 2, window.rfind(b"\n\r\n") + 3) - len(before)
        if window.find(b"\n\n") < 0 and window.find(b"\n\r\n") < 0:
            end = 0
        rest = data[end:]
        events = b"".join((*self._held, data[:end])) if end else b""
        if end:
            self._held.clear()
            self._held_bytes = 0
        if rest:
            self._held.append(rest)
            self._held_bytes += len(rest)
        self._splicing = not self._held and self._filter is None
        return events

    def _fails(self, payload: bytes) -> bool:
        """Whether one of these events carries an error: what is before it is handed on, and the answer broken."""
        before, event = errors_apart(payload)
        if not event:
            return False
        if self._filter is not None:
            self._filtered(before)
        elif before:
            self._keep(before)
            self._attempt.request.exchange.write(before)
        self._attempt.fault = said_failure(event)
        self._attempt.failed(FailureKind.CUT)
        return True

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
            self._shown.append(out)
        else:
            self._keep(data)
        self._attempt.request.exchange.write(out)

    def _watch_events(self, payload: bytes) -> None:
        """A finish reason is in sight: from here on look at each event, the first time for a server that gave up."""
        if payload.find(_ABORTED) >= 0 and self._fails(payload):
            return
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
        """Read the older kept blocks and let them go. An event cut by the fold is not counted: the bound holds."""
        measured = self._measured
        if measured:
            self.spoken_tokens()
        kept = max(KEPT_BLOCKS_AFTER_FOLD, len(self._blocks) - len(self._blocks) // 4)  # reading all would take long
        old, self._blocks = self._blocks[:-kept], self._blocks[-kept:]
        self._let_go(old)
        self._kept_bytes = sum(map(len, self._blocks))
        if self._kept_bytes > MAX_KEPT_BYTES * 7 // 8:
            self._let_go(self._blocks[:-KEPT_BLOCKS_AT_LEAST])
            del self._blocks[:-KEPT_BLOCKS_AT_LEAST]
            self._kept_bytes = sum(map(len, self._blocks[1:]))
        self._measured = len(self._blocks) if measured else 0

    def _let_go(self, old: list[bytes]) -> None:
        payload, finished = unframe(b"".join(old)), self._splice.finished
        if self._delivered is None:
            self._delivered = Delivered(self._attempt.request.api, self._attempt.rescue_max_bytes)
        self._delivered.feed(payload)
        self._counted += self._splice.count(payload)
        if finished is not None and finished.search(payload) is not None:
            self._finish_passed = True

    def _last_bytes(self) -> bytes:
        if self._end:
            return b"".join(self._end)
        last: list[bytes] = []
        size = 0
        for block in reversed(self._blocks):
            last.append(block)
            size += len(block)
            if size > self._splice.end_bytes:
                break
        return unframe(b"".join(reversed(last)))
