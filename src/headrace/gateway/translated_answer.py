"""Answers that a backend gives in another API than the client's: read into events, and written anew, token by token.

The law is that of a spliced stream. Nothing reaches the client before the answer has begun; until then whatever goes
wrong is the attempt's failure, and another backend, of whatever API, takes over. From then on each piece is handed on
as it comes. A stream that breaks is gone on with by another backend (`rescue`), whose answer is translated likewise,
whatever API it speaks; if none can, the client is told so in its API, and its connection is closed without an end.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headrace.errors import BackendError
from headrace.gateway.answer import MAX_HELD_BYTES, failure_kind
from headrace.gateway.rescue import Rescue, rescue_of_translation
from headrace.http import FailedKind, unframe
from headrace.policy import FailureKind
from headrace.wire import BackendFault
from headrace.wire.apis import APIS, StreamReader, StreamWriter
from headrace.wire.canonical import Ended, Event, Failed, TextDelta, Usage, is_token_event, unfold
from headrace.wire.resume import Progress, Seam
from headrace.wire.splices import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from headrace.gateway.attempt import Attempt
    from headrace.gateway.fitting import Prepared

MAX_WHOLE_BYTES = 64 * MAX_HELD_BYTES


class TranslatedStream:
    """A stream of one API, handed on in another."""

    __slots__ = (
        *("_attempt", "_begun", "_delivered", "_end", "_exchange", "_feed", "_fed", "_guarded_fed", "_held", "_kept"),
        *("_measured", "_over", "_plain", "_progress", "_quiet_s", "_reader", "_rescue", "_seam", "_spoken", "_usage"),
        *("_write_all", "_writer", "wants_framed"),
    )

    def __init__(self, attempt: Attempt, reader: StreamReader, writer: StreamWriter, seam: Seam | None = None) -> None:
        """
        Args:
            writer: of the client's stream, perhaps in the middle of it; then `seam` fits to it what comes.
        """
        self.wants_framed = True
        self._attempt = attempt
        self._exchange = attempt.request.exchange
        self._reader = reader
        self._feed = reader.feed
        self._writer = writer
        self._write_all = writer.write_all
        self._seam = seam
        self._rescue = attempt.rescue
        self._progress = Progress(attempt.rescue_max_bytes) if self._rescue is None else self._rescue.progress
        self._kept: list[Event] = []  # what was handed on and is not in `_progress` yet
        self._begun = False
        self._over = False  # the body has ended
        self._plain = False  # events are handed on as they are
        self._held: list[Event] = []  # what came before the answer began
        self._usage: Usage | None = None
        self._end: bytes | None = None  # the last bytes of the answer, once it is complete
        self._delivered = 0
        self._fed = self._guarded_fed = 0
        self._quiet_s = 0.0
        self._measured = self._spoken = 0

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head was read before this sink took over."""

    def on_framed(self, block: bytes) -> None:
        """Whole chunks: cheaper to take apart here than piece by piece."""
        self.on_data(unframe(block))

    def on_data(self, data: bytes) -> None:
        """A piece of the stream."""
        if self._attempt.ended:
            return
        self._fed += 1
        events = self._feed(data)
        if self._plain and len(events) == 1 and type(events[0]) is TextDelta:
            self._delivered += 1
            self._kept += events
            self._exchange.write(self._write_all(events))
        elif events:
            self._take(events)

    def on_end(self, explicit: bool) -> None:
        """The body is complete; whether the answer is, its events say."""
        if not self._attempt.ended:
            self._over = True
            self._take(self._reader.close(explicit))

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke."""
        if not self._attempt.ended:
            self._attempt.failed(failure_kind(kind))

    def delivered_tokens(self) -> int:
        """Events with content that were handed on: a lower bound of the tokens that the client got."""
        return self._delivered

    def quiet(self, passed_s: float) -> float:
        """Seconds without a byte; 0 before the answer has begun."""
        if not self._begun or self._fed != self._guarded_fed:
            self._guarded_fed = self._fed
            self._quiet_s = 0.0
            self._fold()
        else:
            self._quiet_s += passed_s
        return self._quiet_s

    def spoken_tokens(self) -> int:
        """Tokens of the answer by now, estimated from its text."""
        for event in self._kept[self._measured :]:
            self._spoken += max(1, len(getattr(event, "text", "")) // BYTES_PER_TOKEN)
        self._measured = len(self._kept)
        return self._spoken

    def broken(self) -> Rescue:
        """How the answer, which has begun and is broken, can be gone on with."""
        self._fold()
        if self._rescue is None:
            return rescue_of_translation(self._attempt.request, self._progress, self._writer)
        self._rescue.broke_again(self._usage)
        return self._rescue

    def ending(self) -> bytes:
        """The client's last events, once the answer is complete."""
        return self._end or b""

    def _fold(self) -> None:
        """What was handed on becomes text."""
        self.spoken_tokens()
        self._progress.add(self._kept)
        self._kept.clear()
        self._measured = 0

    def _take(self, events: list[Event]) -> None:
        if self._seam is not None:
            events = self._seam.pass_on(events)
        if self._begun:
            self._hand_on(events)
        else:
            self._hold(events)
        attempt = self._attempt
        if self._end is not None and not attempt.ended:
            delivered = None if self._usage is not None else self._delivered
            attempt.remember(lambda: self._end or b"")
            attempt.finished(self._usage, delivered, self._exchange.finish)

    def _hold(self, events: list[Event]) -> None:
        """Nothing reaches the client before the answer begins."""
        attempt = self._attempt
        self._held += events
        fault = next((event for event in self._held if isinstance(event, Failed)), None)
        if fault is not None:
            said = (fault.reason, fault.status, fault.message, fault.kind, fault.code, fault.param)
            attempt.refused(BackendFault(*said))
        elif any(is_token_event(event) for event in self._held):
            held, self._held = self._held, []
            self._begun, self._plain = True, self._seam is None
            attempt.start_answer()
            self._hand_on(held)
            self._exchange.flush()  # the first token does not wait for the round to end
            attempt.first_token()

    def _hand_on(self, events: list[Event]) -> None:
        """Write events, and look at those that say how the answer goes; an error is not written."""
        fault: Failed | None = None
        ended = False
        for event in events:
            if type(event) is TextDelta:  # most are
                self._delivered += 1
            elif isinstance(event, Usage):
                self._usage = event if self._seam is None else self._seam.usage
            elif isinstance(event, Ended):
                ended = True
            elif isinstance(event, Failed):
                fault = event
            elif is_token_event(event):
                self._delivered += 1
        if fault is not None:
            events = events[: events.index(fault)]
        data = self._write_all(events)
        self._exchange.write(data)
        self._kept += events
        if ended:
            self._end = data
        if fault is not None:
            self._attempt.fault = None if self._over else fault  # at its end nobody said it: it was found
            self._attempt.failed(FailureKind.CUT)


class TranslatedWhole:
    """A whole answer in one API, handed on in another, as a whole or as a stream: as the client asked."""

    __slots__ = ("_attempt", "_pieces", "_prepared", "_size", "wants_framed")

    def __init__(self, attempt: Attempt, prepared: Prepared) -> None:
        self.wants_framed = False
        self._attempt = attempt
        self._prepared = prepared
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
        if self._size > MAX_WHOLE_BYTES:
            self._attempt.failed(FailureKind.GARBAGE)

    def on_end(self, explicit: bool) -> None:
        """All of it is here, if it can be read."""
        attempt = self._attempt
        if attempt.ended:
            return
        try:
            whole = attempt.named(b"".join(self._pieces))
            answer = APIS[self._prepared.api].read_answer(whole, self._prepared.tools)
        except BackendError:
            attempt.failed(FailureKind.GARBAGE)
            return
        request = attempt.request
        exchange, neutral = request.exchange, request.neutral()
        if not request.head.stream:
            body = APIS[neutral.api].write_answer(answer, neutral, attempt.answer_id)
            head = attempt.answer_head()
            attempt.remember(lambda: body)
            attempt.finished(answer.usage, None, lambda: exchange.respond(200, head, body))
            return
        attempt.first_token()
        attempt.start_answer(b"text/event-stream")
        stream = stream_writer(attempt).write_all(unfold(answer))
        exchange.write(stream)
        attempt.remember(lambda: stream)
        attempt.finished(answer.usage, None, exchange.finish)

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke."""
        if not self._attempt.ended:
            self._attempt.failed(failure_kind(kind))

    def delivered_tokens(self) -> int:
        """Nothing of an answer that is not complete is of use."""
        return 0

    def quiet(self, passed_s: float) -> float:
        """The engine's answer timeout guards it."""
        return 0.0

    def spoken_tokens(self) -> None:
        """It comes as a whole."""

    def broken(self) -> None:
        """It is never begun before it is complete."""

    def ending(self) -> bytes:
        """The body."""
        return b"".join(self._pieces)


def translated_stream(attempt: Attempt, prepared: Prepared) -> TranslatedStream:
    """A stream of another API than the client's, from its beginning."""
    return TranslatedStream(attempt, APIS[prepared.api].stream_reader(prepared.tools), stream_writer(attempt))


def resumed_stream(attempt: Attempt, rescue: Rescue) -> TranslatedStream:
    """A stream that goes on with an answer of which the client has a part."""
    said = rescue.bodies[attempt.link.fit_key]
    reader = APIS[said.api].stream_reader(said.tools)
    return TranslatedStream(
        attempt, reader, rescue.writer, Seam(rescue.progress, said.trimmed, attempt.link.dialect.may_repeat)
    )


def stream_writer(attempt: Attempt) -> StreamWriter:
    """What writes the stream that the client asked for."""
    neutral = attempt.request.neutral()
    return APIS[neutral.api].stream_writer(neutral, attempt.answer_id, int(time.time()))
