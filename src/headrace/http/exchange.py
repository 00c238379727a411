"""One request and its response, as a handler of the server sees them.

Everything here is synchronous. Calls that come too late (the client is gone, the response has ended) change nothing:
late calls are normal, because the other side of a relay does not know yet.

Header lines are bytes, ready for the wire: `header_lines((b"content-type", b"text/plain"))`. Whoever answers many
requests alike prepares them once.
"""

from __future__ import annotations

import socket
import struct
from asyncio import Transport
from collections.abc import Callable, Iterable
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypeAlias
from urllib.parse import quote

from headrace.http.pump import LAST_CHUNK, unframe

if TYPE_CHECKING:
    from headrace.http.server import Server
    from headrace.http.websocket import WebSocket

STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
MAX_VALUE_BYTES = 2048
_PLAIN = "!#$&'()*+-./:;<=>?@[]^_`{|}~"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def header_lines(*pairs: tuple[bytes, bytes]) -> bytes:
    """Header lines as they go on the wire, each ended by CRLF."""
    return b"".join(b"%s: %s\r\n" % pair for pair in pairs)


def header_value(texts: Iterable[str]) -> bytes:
    """Texts that may come from anybody as one header's value, with commas between.

    What is not printable ASCII is percent-encoded: a line end would begin another header, or the body. A list that is
    too long for a header ends with `...`.
    """
    value = ", ".join(quote(text, safe=_PLAIN) for text in texts)
    return (value if len(value) <= MAX_VALUE_BYTES else value[: MAX_VALUE_BYTES - 3] + "...").encode()


def status_line(status: int) -> bytes:
    """The status line; a status without a registered phrase gets none."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class Phase(IntEnum):
    """How far a response is."""

    UNANSWERED = 0
    STARTED = 1
    ENDED = 2
    GONE = 3


# Looking a member up in its class costs more than looking up a global.
_UNANSWERED, _STARTED, _ENDED, _GONE = Phase.UNANSWERED, Phase.STARTED, Phase.ENDED, Phase.GONE


Successor: TypeAlias = "Callable[[Server, Transport, Callable[[bytes], None]], WebSocket]"


class Owner(Protocol):
    """What an exchange needs of its connection."""

    date_line: bytes

    def exchange_ended(self, keep_alive: bool) -> None:
        """The response is complete; the next request may be answered, or the connection closed."""

    def splicer(self) -> Callable[[bytes], None]:
        """What to call with blocks of a stream."""

    def flush(self) -> None:
        """Send what waits for the end of the round."""

    def switched(self, successor: Successor) -> None:
        """The connection speaks another protocol from here on."""


class Exchange:
    """A request, complete with its body, and the way to answer it.

    Attributes:
        method: upper-case, e.g. `b"POST"`.
        path: without the query; as it came, not percent-decoded.
        headers: lower-case names; repeated headers are joined by `, `.
        status: of the response; 0 before it has begun.
        on_gone: called once when the client went away before the response ended.
        on_pause, on_resume: called when the client takes bytes slower than they come, and when it has caught up.
    """

    __slots__ = (
        "_chunked",
        "_head",
        "_keep_alive",
        "_no_body",
        "_owner",
        "_phase",
        "_send",
        "_splice",
        "_transport",
        "_until_close",
        "body",
        "headers",
        "http_1_0",
        "method",
        "on_gone",
        "on_pause",
        "on_resume",
        "path",
        "query",
        "status",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes,
        transport: Transport,
        send: Callable[[bytes], None],
        owner: Owner,
        keep_alive: bool,
        http_1_0: bool,
    ) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.body = body
        self.http_1_0 = http_1_0
        self.status = 0
        self.on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self._transport = transport
        self._send = send
        self._owner = owner
        self._keep_alive = keep_alive
        self._phase = _UNANSWERED
        self._chunked = False
        self._splice = False
        self._no_body = False
        self._until_close = False
        self._head: bytes | None = None

    @property
    def unanswered(self) -> bool:
        """Whether no part of a response has been given yet."""
        return self._phase is _UNANSWERED

    @property
    def open(self) -> bool:
        """Whether the client is there and its response has not ended."""
        return self._phase < _ENDED

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer with a complete body."""
        if self._phase is not _UNANSWERED:
            return
        if self.method == b"HEAD":
            self._send(b"%scontent-length: %d\r\n\r\n" % (self._head_start(status, headers), len(body)))
        else:
            self._send(self._head_start(status, headers) + b"content-length: %d\r\n\r\n" % len(body) + body)
        self._end()

    def switch(self, headers: bytes, successor: Successor) -> None:
        """Answer 101: the connection is the successor's from here on, with what has come behind the request."""
        if self._phase is not _UNANSWERED:
            return
        self._phase = _ENDED
        self._forget()
        self._send(b"%b%b%b\r\n" % (STATUS_LINES[101], self._owner.date_line, headers))
        self._owner.switched(successor)

    def start(self, status: int, headers: bytes, content_length: int | None = None) -> None:
        """Begin an answer whose body comes in pieces. Without a length it is chunked (to HTTP/1.0: until close).

        The head goes out with the first piece of the body, in one segment.
        """
        if self._phase is not _UNANSWERED:
            return
        self._phase = _STARTED
        self._no_body = self.method == b"HEAD"
        if content_length is not None:
            framing = b"content-length: %d\r\n\r\n" % content_length
        elif self.http_1_0:
            self._keep_alive = False
            self._until_close = True
            framing = b"\r\n"
        else:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n\r\n"
        self._head = self._head_start(status, headers) + framing

    def write(self, data: bytes) -> None:
        """Send a piece of the body; the framing is done here."""
        if self._phase is not _STARTED or not data:
            return
        if self._chunked and not self._no_body:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._write_framed(data)

    def write_raw(self, block: bytes) -> None:
        """Send bytes that are whole chunks already, as they are (to HTTP/1.0: their payload)."""
        if self._splice:
            self._send(block)
        elif self._phase is _STARTED:
            self._write_framed(block if self._chunked else unframe(block))

    def raw_sender(self) -> Callable[[bytes], None]:
        """What to call with many blocks of whole chunks: `write_raw`, or what it comes to once the body has begun."""
        return self._send if self._splice else self.write_raw

    def flush(self) -> None:
        """Send what has been written now, and not at the end of the round."""
        self._owner.flush()

    def finish(self) -> None:
        """End the answer properly: this, and only this, makes it complete."""
        if self._phase is not _STARTED:
            return
        self._write_framed(LAST_CHUNK if self._chunked else b"")
        self._end()

    def abort(self) -> None:
        """Close the connection so that the answer is seen to be incomplete.

        What was written is still sent, but no end follows. Where the end of the connection is the end of the body
        (HTTP/1.0), the connection is reset instead.
        """
        if self._phase >= _ENDED:
            return
        self._phase = _ENDED
        self._splice = False
        self._forget()
        if self._until_close:
            self._reset_connection()
        self._owner.exchange_ended(False)

    def reset(self) -> None:
        """Reset the connection: what was written and not yet read is lost."""
        if self._phase >= _ENDED:
            return
        self._phase = _ENDED
        self._splice = False
        self._forget()
        self._owner.flush()
        self._reset_connection()
        self._owner.exchange_ended(False)

    def _reset_connection(self) -> None:
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def gone(self) -> None:
        """The connection is lost: called by the server."""
        if self._phase >= _ENDED:
            return
        self._phase = _GONE
        self._splice = False
        on_gone = self.on_gone
        self._forget()
        if on_gone is not None:
            on_gone()

    def _head_start(self, status: int, headers: bytes) -> bytes:
        self.status = status
        line = STATUS_LINES.get(status) or status_line(status)
        if self._keep_alive:
            if self.http_1_0:
                headers += b"connection: keep-alive\r\n"
        else:
            headers += b"connection: close\r\n"
        return line + self._owner.date_line + headers

    def _write_framed(self, data: bytes) -> None:
        if self._no_body:
            data = b""
        head = self._head
        if head is not None:
            self._head = None
            data = head + data
            if self._chunked and not self._no_body:
                self._splice = True
                self._send(data)
                self._send = self._owner.splicer()  # the first piece begins a stream, what follows makes a round busy
                return
        if data:
            self._send(data)

    def _end(self) -> None:
        self._phase = _ENDED
        self._splice = False
        self._forget()
        self._owner.exchange_ended(self._keep_alive)

    def _forget(self) -> None:
        """Let go of who listened: they hold this exchange too, and a cycle would keep its body until a collection."""
        self.on_gone = self.on_pause = self.on_resume = None


class Nobody:
    """Owner of an exchange after which the connection takes no more."""

    def __init__(self, date_line: bytes) -> None:
        self.date_line = date_line

    def exchange_ended(self, keep_alive: bool) -> None:
        """Nothing follows."""

    def flush(self) -> None:
        """The connection does."""

    def switched(self, successor: Successor) -> None:
        """A refusal is no upgrade."""

    def splicer(self) -> Callable[[bytes], None]:
        """A refusal is not streamed."""
        raise AssertionError("a refusal is not streamed")
