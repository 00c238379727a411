"""A stream of a backend that has a name of its own for the model, on its way to the sink that takes its answer.

    backend -- "model":"openai/gpt-oss-120b" --> RenamedStream -- "model":"gpt-oss-120b" --> the answer's sink

The client hears one name, whichever backend answers: an agent that keeps the model of its last answer asks for it
again. A backend that says another name than it was asked for (a dated snapshot) is passed on; that is news.

It stands before the sinks of streams of every kind, and only where there is something to replace: backends with the
fleet's name have none. A chunk without a model's name passes after one look. What does not come as whole chunks of
whole lines is held to the end of its line; the sinks behind wait for it, too, so nothing is late.
"""

from __future__ import annotations

from headrace.http import FailedKind, ResponseSink, unframe
from headrace.wire import StreamNames
from headrace.wire.sse import MAX_EVENT_BYTES


class RenamedStream:
    """Takes a stream and hands it to `sink` with the client's name of the model."""

    __slots__ = ("_held", "_held_bytes", "_names", "_sink")

    def __init__(self, sink: ResponseSink, names: StreamNames) -> None:
        self._sink = sink
        self._names = names
        self._held: list[bytes] = []  # the beginning of a line
        self._held_bytes = 0

    @property
    def wants_framed(self) -> bool:
        """As the answer's sink does, which may come to want payload only while the stream is under way."""
        return self._sink.wants_framed

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head was read before this sink took over."""

    def on_framed(self, block: bytes) -> None:
        """Whole chunks of whole lines, of which none is cut by a chunk's end."""
        if self._held:
            self.on_data(unframe(block))
        elif self._names.said_in(block):
            payload = self._names.renamed(unframe(block))
            self._sink.on_framed(b"%x\r\n%b\r\n" % (len(payload), payload))
        else:
            self._sink.on_framed(block)

    def on_data(self, data: bytes) -> None:
        """Payload, handed on in whole lines."""
        end = data.rfind(b"\n") + 1
        if end or self._held_bytes > MAX_EVENT_BYTES:
            end = end or len(data)  # a line without an end is the sink's to refuse
            lines = b"".join((*self._held, data[:end]))
            self._held.clear()
            self._held_bytes = 0
            self._sink.on_data(self._names.renamed(lines))
        if end < len(data):
            self._held.append(data[end:])
            self._held_bytes += len(data) - end

    def on_end(self, explicit: bool) -> None:
        """The body is complete."""
        self._flush()
        self._sink.on_end(explicit)

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke."""
        self._flush()
        self._sink.on_failed(kind, message)

    def _flush(self) -> None:
        if self._held:
            rest = self._names.renamed(b"".join(self._held))
            self._held.clear()
            self._sink.on_data(rest)


def renamed(answer: ResponseSink, before: str, after: str) -> ResponseSink:
    """What takes the response of a backend that calls the model `before` in the place of its answer's sink.

    An answer that comes as a whole is given its name when it is complete (`Attempt.named`).
    """
    return RenamedStream(answer, StreamNames(before, after)) if answer.wants_framed else answer
