"""A request that came as a WebSocket message: an exchange to the rest of the gateway, which need not know.

What is written to it is what is written to any client of the Responses API; `wire.apis.responses.socket` makes messages
of it. An answer that breaks is told by an `error` event, because on a connection that stays open nothing else tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from headrace.http import Exchange, unframe
from headrace.http.exchange import Phase
from headrace.wire.apis.responses import SocketWriter

_OURS, _RETRY_AFTER = "x-headrace-", "retry-after"


class LaneOwner(Protocol):
    """The connection."""

    def send(self, message: bytes) -> None:
        """Send a message."""

    def flush(self) -> None:
        """Send now, and not at the end of the round."""

    def answered(self, lane: LaneExchange) -> None:
        """The answer has ended, however; `lane.response` is the whole of it, if it is complete."""


class LaneExchange(Exchange):
    """One request.

    Attributes:
        stream_id: the lane that the client put it in; empty: none.
    """

    __slots__ = ("_lane_owner", "_writer", "stream_id")

    def __init__(self, owner: LaneOwner, path: bytes, headers: dict[bytes, bytes], stream_id: str) -> None:
        # Not the base's: it is bound to a connection that speaks HTTP. All that uses one is replaced below.
        self.method = b"POST"
        self.path, self.query = path, b""
        self.headers = headers
        self.body = b""
        self.http_1_0 = False
        self.status = 0
        self.on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self._phase = Phase.UNANSWERED
        self._splice = False
        self._lane_owner = owner
        self._writer = SocketWriter(stream_id)
        self.stream_id = stream_id

    @property
    def response(self) -> bytes:
        """The whole response, once it is complete; empty before."""
        return self._writer.response

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer as a whole."""
        if self._phase is not Phase.UNANSWERED:
            return
        self.status = status
        lines = _lines(headers)
        if status < 400:
            self._writer.tell(_named(lines, _OURS))
            self._send_all(lambda: self._writer.whole(body))
        else:
            self._lane_owner.send(self._writer.error(status, body, _named(lines, _OURS, _RETRY_AFTER)))
        self._end()

    def start(self, status: int, headers: bytes, content_length: int | None = None) -> None:
        """Begin an answer whose body comes in pieces."""
        if self._phase is Phase.UNANSWERED:
            self._phase = Phase.STARTED
            self.status = status
            self._writer.tell(_named(_lines(headers), _OURS))

    def write(self, data: bytes) -> None:
        """Send a piece of the stream of events."""
        if self._phase is Phase.STARTED:
            self._send_all(lambda: self._writer.feed(data))

    def write_raw(self, block: bytes) -> None:
        """Send a piece that came as whole chunks."""
        self.write(unframe(block))

    def raw_sender(self) -> Callable[[bytes], None]:
        """What to call with many blocks of whole chunks."""
        return self.write_raw

    def flush(self) -> None:
        """Send what has been written now, and not at the end of the round."""
        self._lane_owner.flush()

    def finish(self) -> None:
        """End the answer properly."""
        if self._phase is Phase.STARTED:
            self._end()

    def abort(self) -> None:
        """End the answer so that it is seen to be incomplete."""
        if self.open:
            self._send_all(self._writer.broken)
            self._end()

    def _send_all(self, messages: Callable[[], Iterable[bytes]]) -> None:
        """Send messages; if what came cannot be said as such, the answer is broken, and nobody waits for more of it."""
        try:
            for message in messages():
                self._lane_owner.send(message)
        except ValueError:
            on_gone = self.on_gone
            self.abort()
            if on_gone is not None:
                on_gone()

    def _end(self) -> None:
        if self.open:
            self._phase = Phase.ENDED
            self._forget()
            self._lane_owner.answered(self)


def _lines(headers: bytes) -> dict[str, str]:
    lines = (line.partition(": ") for line in headers.decode("latin-1").split("\r\n"))
    return {name: value for name, _, value in lines if name}


def _named(lines: dict[str, str], *prefixes: str) -> dict[str, str]:
    return {name: value for name, value in lines.items() if name.startswith(prefixes)}
