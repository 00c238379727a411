"""A WebSocket connection: what an HTTP/1.1 connection of the server becomes once a handler has accepted the upgrade.

It takes the place of the HTTP connection at the transport and in the server's list, so requests that are no WebSocket
pay nothing for it. The server's sweep guards it: a connection that is silent is pinged, and cut off if no sign of life
follows; one that is open and not used is closed; a client that takes no bytes is cut off.

Source: RFC 6455, section 4.2 (the server's handshake).
"""

from __future__ import annotations

import asyncio
from asyncio import Transport
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urlsplit

from websockets.utils import accept_key

from headrace.http.exchange import Exchange, header_lines
from headrace.http.frames import CloseCode, Frames
from headrace.http.transport import address_of

if TYPE_CHECKING:
    from headrace.http.server import Server

VERSION = b"13"
_KEY_BYTES = 24  # 16 random bytes in base64


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What a server puts up with on a WebSocket connection.

    Attributes:
        max_message_bytes: largest message from the client; a larger one closes the connection (1009).
        ping_after_s: a client that has been silent for so long is pinged.
        pong_timeout_s: and cut off, if nothing comes from it within this.
        idle_timeout_s: a connection without a message for so long, and with nothing under way, is closed (1000).
        close_timeout_s: how long the client has to answer a close.
    """

    max_message_bytes: int = 16 * 1024 * 1024
    ping_after_s: float = 30.0
    pong_timeout_s: float = 30.0
    idle_timeout_s: float = 900.0
    close_timeout_s: float = 10.0


class SocketHandler(Protocol):
    """Who uses a connection.

    Attributes:
        busy: something is under way that the client waits for.
    """

    @property
    def busy(self) -> bool:
        """See the class."""

    def on_text(self, message: bytes) -> None:
        """A message came; it is UTF-8."""

    def on_pause(self) -> None:
        """The client takes bytes more slowly than they come."""

    def on_resume(self) -> None:
        """It has caught up."""

    def on_closed(self) -> None:
        """No message comes or goes any more: called once."""


class Refused(NamedTuple):
    """Why a handshake is refused: HTTP status, message, and header lines that go with it."""

    status: int
    message: str
    headers: bytes = b""


def wants_websocket(exchange: Exchange) -> bool:
    """Whether a request asks to become a WebSocket connection."""
    return exchange.method == b"GET" and exchange.headers.get(b"upgrade", b"").lower() == b"websocket"


def handshake_fault(exchange: Exchange) -> Refused | None:
    """What is wrong with a handshake; None: nothing.

    A page of another site must not use a gateway through its visitor's browser, which says in `origin` whose page asks.
    """
    headers = exchange.headers
    if headers.get(b"sec-websocket-version", b"") != VERSION:
        told = header_lines((b"sec-websocket-version", VERSION), (b"upgrade", b"websocket"))
        return Refused(426, "the version of WebSocket that is spoken here is 13", told)
    if b"upgrade" not in headers.get(b"connection", b"").lower() or exchange.http_1_0:
        return Refused(400, "a WebSocket handshake is an HTTP/1.1 request with `connection: upgrade`")
    if len(headers.get(b"sec-websocket-key", b"")) != _KEY_BYTES:
        return Refused(400, "sec-websocket-key: send 16 random bytes in base64")
    origin = headers.get(b"origin")
    if origin is not None and _authority(origin) != headers.get(b"host", b"").lower():
        return Refused(403, "origin: another site's pages may not connect here")
    return None


def _authority(origin: bytes) -> bytes:
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return b""


def accept(exchange: Exchange, handler_of: Callable[[WebSocket], SocketHandler], limits: SocketLimits) -> None:
    """Answer a handshake without fault; the connection is the handler's from here on."""
    key = accept_key(exchange.headers[b"sec-websocket-key"].decode("latin-1")).encode()
    headers = header_lines((b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", key))
    exchange.switch(headers, lambda server, transport, send: WebSocket(server, transport, send, handler_of, limits))


class WebSocket(asyncio.Protocol):
    """One connection."""

    def __init__(
        self,
        server: Server,
        transport: Transport,
        send: Callable[[bytes], None],
        handler_of: Callable[[WebSocket], SocketHandler],
        limits: SocketLimits,
    ) -> None:
        self.date_line = b""
        self.deadline_s = server.now_s() + limits.ping_after_s
        self._server = server
        self._transport = transport
        self._send = send
        self._limits = limits
        self._frames = Frames(limits.max_message_bytes)
        self._pinged = False
        self._paused = False
        self._used_s = server.now_s()
        self._closed = False
        self._handler = handler_of(self)

    # the handler's side

    @property
    def address(self) -> str:
        """The client's."""
        return address_of(self._transport)

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""
        return self._frames.open and not self._closed

    @property
    def draining(self) -> bool:
        """Whether the server takes nothing new."""
        return self._server.draining

    def now_s(self) -> float:
        """Seconds on the event loop's clock."""
        return self._server.now_s()

    def send(self, message: bytes) -> None:
        """Send a text message, which is UTF-8, at the end of the round; nothing after a close."""
        if self.open:
            self._frames.send_text(message)
            self._used_s = self._server.now_s()
            self._flush_frames()

    def flush(self) -> None:
        """Send what waits for the end of the round."""
        self._server.flush()

    def close(self, code: CloseCode, reason: str) -> None:
        """Begin the closing handshake; `reason` takes at most 123 bytes."""
        if self.open:
            self._frames.send_close(code, reason)
            self._flush_frames()
            self._end()

    def rest(self) -> None:
        """Nothing is under way any more: a server that is shutting down closes now."""
        self._used_s = self._server.now_s()
        if self.draining:
            self.close(CloseCode.GOING_AWAY, "the server is shutting down")

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._pinged = False
        messages = self._frames.feed(data)
        self._guard()
        for message in messages:
            if self.open:
                self._used_s = self._server.now_s()
                self._handler.on_text(message)
        self._flush_frames()
        if not self._frames.open:
            self._end()

    def eof_received(self) -> bool:
        """A client that ends its side is gone."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._server.closed(self)
        self.deadline_s = inf
        self._end()

    def pause_writing(self) -> None:
        """The client takes bytes more slowly than they come: read no more of its messages either."""
        self._paused = True
        self.deadline_s = self._server.now_s() + self._server.limits.write_timeout_s
        self._transport.pause_reading()
        if not self._closed:
            self._handler.on_pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._guard()
        self._transport.resume_reading()
        if not self._closed:
            self._handler.on_resume()

    # the server's side

    def overdue(self) -> None:
        """The sweep found the deadline passed."""
        if self._closed or self._paused or self._pinged:
            self.deadline_s = inf
            self._transport.abort()
        elif not self._handler.busy and self._server.now_s() - self._used_s >= self._limits.idle_timeout_s:
            self.close(CloseCode.NORMAL, "nothing was asked for a long time")
        else:
            self._frames.send_ping(b"")
            self._pinged = True
            self.deadline_s = self._server.now_s() + self._limits.pong_timeout_s
            self._flush_frames()

    def close_when_idle(self) -> None:
        """Close now if nothing is under way; else after it."""
        if not self._handler.busy:
            self.rest()

    def close_now(self) -> None:
        """Close whatever is going on."""
        self._transport.abort()

    def _flush_frames(self) -> None:
        data, last = self._frames.outgoing()
        if data:
            self._send(data)
        if last:  # what the client still sends runs dry, so that it can read why
            self._server.flush()
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()

    def _guard(self) -> None:
        if not self._closed and not self._paused:
            self.deadline_s = self._server.now_s() + self._limits.ping_after_s

    def _end(self) -> None:
        """No message comes or goes any more."""
        if not self._closed:
            self._closed = True
            if self.deadline_s < inf:
                self.deadline_s = self._server.now_s() + self._limits.close_timeout_s
            self._handler.on_closed()
