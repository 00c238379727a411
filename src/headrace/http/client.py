"""One connection to a backend, and one request on it: the back half of the data plane.

The response head is parsed once; from then on every block that is read goes through one body walker (`pump`) to the
sink. A sink hears of a response in this order: `on_head`, then any number of `on_framed` and `on_data`, then exactly
one of `on_end` and `on_failed`. After `cancel` or `release` it hears nothing more. No sink is ever called from within
`send`: whoever decides has finished deciding before anything else happens.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import Transport
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

from headrace.http.head import ResponseHead, body_of, parse_head
from headrace.http.pump import Body, FramingError
from headrace.http.rounds import Rounds
from headrace.http.transport import send_at_once

MAX_HEAD_BYTES = 64 * 1024
MAX_INFORMATIONAL = 16  # heads of one response that only say that it will come
JOINED_BODY_BYTES = 4096
MAX_RELEASED_BYTES = 64 * 1024
STALE_S = 0.5


class FailedKind(StrEnum):
    """Why there is no complete response."""

    REFUSED = "refused"  # no connection: nothing was sent
    RESET = "reset"  # the connection broke
    GARBAGE = "garbage"  # what came is not HTTP


class ResponseSink(Protocol):
    """Who takes a response. See the module for the order of calls, `pump` for framed blocks."""

    @property
    def wants_framed(self) -> bool:
        """As of `BodySink`."""

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The response head came."""

    def on_framed(self, block: bytes) -> None:
        """Whole chunks, as they came."""

    def on_data(self, data: bytes) -> None:
        """Payload bytes."""

    def on_end(self, explicit: bool) -> None:
        """The body is complete; `explicit`: by its framing, not only because the connection ended."""

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """There will be no complete response."""


class _Released:
    """Lets the rest of an unwanted response run dry, so that its connection can be used again."""

    wants_framed = False

    def __init__(self, exchange: ClientExchange) -> None:
        self._exchange = exchange
        self._left_bytes = MAX_RELEASED_BYTES

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Not wanted."""

    def on_framed(self, block: bytes) -> None:
        """Not wanted."""

    def on_data(self, data: bytes) -> None:
        """Not wanted; too much of it is not worth the connection."""
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self._exchange.cancel()

    def on_end(self, explicit: bool) -> None:
        """Done."""

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """Not wanted."""


class Owner(Protocol):
    """What an exchange and a connection need of their pool."""

    rounds: Rounds | None

    def cancel(self, exchange: ClientExchange) -> None:
        """The exchange is not wanted any more and has no connection yet."""

    def connection_free(self, connection: ClientConnection) -> None:
        """The connection can take another request."""

    def connection_gone(self, connection: ClientConnection) -> None:
        """The connection is closed."""

    def retry(self, exchange: ClientExchange) -> None:
        """A warm connection turned out closed: send again on a fresh one."""


class ClientExchange:
    """One request to a backend. `head` and `body` are kept until the first byte of a response, for one more try."""

    __slots__ = ("_connection", "_owner", "_paused", "body", "fresh", "head", "method", "sink")

    def __init__(self, owner: Owner, head: bytes, body: bytes, sink: ResponseSink, method: bytes) -> None:
        self._owner = owner
        self._connection: ClientConnection | None = None
        self._paused = False
        self.head = head
        self.body = body
        self.method = method
        self.sink: ResponseSink | None = sink
        self.fresh = False

    def cancel(self) -> None:
        """Close the connection that this request is on; the sink hears nothing more."""
        self.sink = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()
        else:
            self._owner.cancel(self)

    def release(self) -> None:
        """Want no more of the response, but keep the connection if the rest is small."""
        if self._connection is None:
            self.cancel()
        else:
            self.hand_over(_Released(self))
            self.resume_reading()

    def hand_over(self, sink: ResponseSink) -> None:
        """Give the rest of the response to another sink (it hears no `on_head`)."""
        self.sink = sink
        if self._connection is not None:
            self._connection.body_to(sink)

    def fail(self, kind: FailedKind, message: str) -> None:
        """Tell the sink that there will be no complete response, and let go of it."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.on_failed(kind, message)

    def pause_reading(self) -> None:
        """Read no further until `resume_reading`."""
        self._paused = True
        if self._connection is not None:
            self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._paused = False
        if self._connection is not None:
            self._connection.resume_reading()


class ClientConnection(asyncio.Protocol):
    """A connection to a backend, with at most one request on it."""

    __slots__ = (
        "_body",
        "_exchange",
        "_head",
        "_informational",
        "_owner",
        "_pending",
        "_reading_paused",
        "_send",
        "_sent_s",
        "_transport",
        "closed",
        "served",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._send: Callable[[bytes], None] = None  # type: ignore[assignment]  # likewise
        self._exchange: ClientExchange | None = None
        self._pending = b""
        self._head: ResponseHead | None = None
        self._informational = 0
        self._body: Body | None = None
        self._reading_paused = False
        self._sent_s = 0.0
        self.closed = False
        self.served = 0

    def send(self, exchange: ClientExchange) -> None:
        """Put a request on this idle connection."""
        self._exchange = exchange
        self._sent_s = time.monotonic()
        exchange._connection = self
        if len(exchange.body) <= JOINED_BODY_BYTES:
            self._send(exchange.head + exchange.body)
        else:
            self._send(exchange.head)
            self._send(exchange.body)
        if exchange._paused:
            self.pause_reading()

    def drop(self) -> None:
        """Close at once."""
        self._exchange = None
        self.closed = True
        self._transport.abort()

    def body_to(self, sink: ResponseSink) -> None:
        """Hand the rest of the body to another sink."""
        if self._body is not None:
            self._body.sink = sink

    def pause_reading(self) -> None:
        """Read no further."""
        if not self._reading_paused and not self.closed:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._reading_paused and not self.closed:
            self._reading_paused = False
            self._transport.resume_reading()

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        """The connection is open."""
        self._transport = transport
        rounds = self._owner.rounds
        self._send = transport.write if rounds is None else rounds.sender(transport)
        send_at_once(transport)

    def data_received(self, data: bytes) -> None:
        """A block came: the hot path of every streamed token."""
        body = self._body
        try:
            if body is None:
                self._feed_head(data)
            else:
                used = body.feed(data)
                if used is not None:
                    self._end(len(data) - used)
        except FramingError as error:
            self._fail(FailedKind.GARBAGE, str(error))
        except Exception:  # a bug in a sink: its request must end all the same, and the bug be seen
            self._fail(FailedKind.GARBAGE, "the answer could not be handled")
            raise

    def eof_received(self) -> bool:
        """The backend ended its side: close ours."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed: a response still on its way is broken, unless closing is its end."""
        self.closed = True
        self._owner.connection_gone(self)
        exchange = self._exchange
        if exchange is None:
            return
        if self._body is None or self._body.explicit_end or exc is not None:
            self._broken(exchange, exc)
        else:
            self._leave(exchange)
            sink, exchange.sink = exchange.sink, None
            if sink is not None:
                sink.on_end(False)

    # inside

    def _feed_head(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self._fail(FailedKind.GARBAGE, "bytes came without a request")
            return
        found = self._next_head(self._pending + data if self._pending else data)
        if found is None:
            return
        head, rest = found
        self._head = head
        sink = exchange.sink
        assert sink is not None  # without one the connection has been dropped
        exchange.head = exchange.body = b""  # the time to send it again is over
        self._body = body_of(head, exchange.method, sink)
        sink.on_head(head.status, head.headers)
        if self._exchange is exchange:
            used = self._body.feed(rest)
            if used is not None:
                self._end(len(rest) - used)

    def _next_head(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """The response's head, after those that only say that it will come, and what follows it; None: not yet."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end > MAX_HEAD_BYTES or (end < 0 and len(data) > MAX_HEAD_BYTES):
                raise FramingError("the response head is too large")
            if end < 0:
                if not b"HTTP/1."[: len(data)] == data[:7]:
                    raise FramingError(f"not an HTTP response: {data[:32]!r}")
                self._pending = data
                return None
            head = parse_head(data[:end])
            data = data[end + 4 :]
            if head.status >= 200:
                self._pending = b""
                return head, data
            self._informational += 1
            if head.status == 101 or self._informational > MAX_INFORMATIONAL:
                raise FramingError(
                    "the backend switched protocols, which was not asked for, or never comes to the point"
                )

    def _end(self, surplus_bytes: int) -> None:
        """The response is complete: free the connection first, then tell the sink."""
        exchange, head = self._exchange, self._head
        if exchange is None or head is None:
            return
        self._leave(exchange)
        self.served += 1
        if surplus_bytes or not head.keep_alive or self._transport.get_write_buffer_size():
            self.closed = True
            self._transport.close()
        elif not self.closed:
            self.resume_reading()
            self._owner.connection_free(self)
        sink, exchange.sink = exchange.sink, None
        if sink is not None:
            sink.on_end(True)

    def _leave(self, exchange: ClientExchange) -> None:
        self._exchange = None
        self._head = None
        self._body = None
        self._pending = b""
        self._informational = 0
        exchange._connection = None

    def _broken(self, exchange: ClientExchange, exc: Exception | None) -> None:
        """The connection ended before the response did."""
        untouched = self._body is None and not self._pending
        warm = not exchange.fresh and time.monotonic() - self._sent_s < STALE_S
        self._leave(exchange)
        if exchange.sink is None:
            return
        if untouched and warm:
            self._owner.retry(exchange)
        else:
            exchange.sink.on_failed(
                FailedKind.RESET, f"the backend closed the connection early ({exc or 'end of file'})"
            )

    def _fail(self, kind: FailedKind, message: str) -> None:
        exchange = self._exchange
        self.drop()
        if exchange is not None:
            self._leave(exchange)
            exchange.fail(kind, message)
