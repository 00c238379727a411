"""One client connection of the server: the parser's target, and the owner of its exchanges.

At most one exchange is being answered; complete requests behind it wait in order, and the connection is not read while
one waits. A refusal waits for its turn too, and is the last thing that the connection answers.
"""

from __future__ import annotations

import asyncio
from asyncio import Transport
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING, Any

import httptools

from headrace.http.exchange import Exchange, Nobody, Successor
from headrace.http.plain_body import PlainBody
from headrace.http.request_head import Refused, check_head, check_lines, check_size, origin_form
from headrace.http.transport import address_of, send_at_once

if TYPE_CHECKING:
    from headrace.http.server import Server

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FRAMING_BYTES, FRAMING_PER_BYTE = 16 * 1024, 8  # of a chunked body, and per byte of it: a chunk of one takes five more


class _Receiving(IntEnum):
    """What of a request is being received."""

    NOTHING = 0
    HEAD = 1
    BODY = 2


# Looking a member up in its class costs more than looking up a global, and these are looked up on every block.
_NOTHING, _HEAD, _BODY = _Receiving.NOTHING, _Receiving.HEAD, _Receiving.BODY


class ServerConnection(asyncio.Protocol):
    """One client connection; also the parser's target."""

    __slots__ = (
        "_active",
        "_body",
        "_body_bytes",
        "_closing",
        "_continue_due",
        "_dispatching",
        "_guarded",
        "_head_bytes",
        "_headers",
        "_method",
        "_parser",
        "_plain_body",
        "_reading_paused",
        "_receiving",
        "_refusal",
        "_repeated",
        "_rest",
        "_send",
        "_server",
        "_target",
        "_transport",
        "_version",
        "_waiting",
        "_wire_bytes",
        "_writing_paused",
        "date_line",
        "deadline_s",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._send: Callable[[bytes], None] = None  # type: ignore[assignment]  # likewise
        self._active: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._refusal: tuple[int, str] | None = None
        self._receiving = self._guarded = _NOTHING
        self._dispatching = self._closing = self._continue_due = False
        self._reading_paused = self._writing_paused = False
        self._plain_body: PlainBody | None = None
        self._target = self._rest = self._method = b""
        self._version = ""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | list[bytes] = b""
        self._head_bytes = self._body_bytes = self._wire_bytes = self._repeated = 0
        self.date_line = server.date_line
        self.deadline_s = inf

    @property
    def address(self) -> str:
        """The client's."""
        return address_of(self._transport)

    # asyncio's side

    def connection_made(self, transport: Any) -> None:
        """The connection is open."""
        self._transport = transport
        rounds = self._server.rounds
        self._send = transport.write if rounds is None else rounds.sender(transport)
        send_at_once(transport)
        self._server.opened(self)
        self.deadline_s = self._server.now_s() + self._server.limits.keep_alive_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed: whoever is answering is told."""
        self._server.closed(self)
        self._closing = True
        self._parser = None  # it holds this connection
        self._waiting.clear()
        active, self._active = self._active, None
        if active is not None:
            active.gone()

    def eof_received(self) -> bool:
        """A client that ends its side is gone."""
        return False

    def pause_writing(self) -> None:
        """The client takes bytes more slowly than they come."""
        self._writing_paused = True
        self.deadline_s = self._server.now_s() + self._server.limits.write_timeout_s
        active = self._active
        if active is not None and active.on_pause is not None:
            active.on_pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writing_paused = False
        self._guard()
        active = self._active
        if active is not None and active.on_resume is not None:
            active.on_resume()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._closing or self._refusal is not None:
            return
        if self._receiving is _NOTHING:
            self._receiving = _HEAD
            self._head_bytes = 0
        if self._receiving is _HEAD:
            self._head_bytes += len(data)
        elif self._plain_body is None:
            self._wire_bytes += len(data)
        try:
            if self._plain_body is not None:
                self._feed_plain(self._plain_body, data)
            else:
                self._parser.feed_data(data)
            if self._receiving is _HEAD and self._head_bytes > self._server.limits.max_head_bytes:
                self._refuse(431, "the request head is too large")
            elif self._receiving is _BODY and self._wire_bytes > FRAMING_BYTES + FRAMING_PER_BYTE * self._body_bytes:
                self._refuse(400, "the request body is chunk framing for the most part; send larger chunks")
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse_for(error)
        self._next()

    # the parser's side

    def on_message_begin(self) -> None:
        """A request begins."""
        self._receiving = _HEAD
        self._target = self._body = b""
        self._headers = {}
        self._repeated = self._body_bytes = self._wire_bytes = 0

    def on_url(self, piece: bytes) -> None:
        """A piece of the target."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a line of a trailer: that comes too late to say anything, and must not pass for a header."""
        if self._receiving is _BODY:
            return
        headers = self._headers
        name = name.lower()
        if name in headers:
            self._repeated += 1
            check_lines(self._repeated, self._server.limits)
            value = b"%b, %b" % (headers[name], value)
        headers[name] = value

    def on_headers_complete(self) -> None:
        """The head is complete: refuse what can be refused before its body."""
        self._receiving = _BODY
        headers = self._headers
        limits = self._server.limits
        if self._head_bytes > limits.max_head_bytes:
            check_size(self._target, headers, limits)
        check_lines(len(headers) + self._repeated, limits)
        self._method = method = self._parser.get_method()
        self._version = version = self._parser.get_http_version()
        check_head(method, version, headers)
        self._target = origin_form(method, self._target, headers)
        length = headers.get(b"content-length")
        if length is not None and int(length) > limits.max_body_bytes:
            raise Refused(413, f"the request body is larger than {limits.max_body_bytes} bytes")
        expected = headers.get(b"expect")
        if expected is not None and expected.lower() == b"100-continue":
            self._continue_due = True

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(piece)
        if self._body_bytes > self._server.limits.max_body_bytes:
            raise Refused(413, f"the request body is larger than {self._server.limits.max_body_bytes} bytes")
        body = self._body
        if not body:
            self._body = piece
        elif isinstance(body, list):
            body.append(piece)
        else:
            self._body = [body, piece]

    def on_message_complete(self) -> None:
        """The request is complete and waits for its turn."""
        self._receiving = self._guarded = _NOTHING
        self._head_bytes = 0  # of a next head in the same read, only what later reads bring is counted
        self._continue_due = False
        body = self._body
        self._waiting.append(
            Exchange(
                self._method,
                self._target,
                self._headers,
                body if isinstance(body, bytes) else b"".join(body),
                self._transport,
                self._send,
                self,
                self._parser.should_keep_alive() and not self._server.draining,
                self._version == "1.0",
            )
        )
        self._body = b""

    # the exchange's side

    def exchange_ended(self, keep_alive: bool) -> None:
        """The active response is complete."""
        self._active = None
        if not keep_alive or self._server.draining:
            self._waiting.clear()
            self._closing = True
            self.deadline_s = self._server.now_s() + self._server.limits.write_timeout_s
            self._close()
        elif not self._dispatching:
            self._next()

    def switched(self, successor: Successor) -> None:
        """Another protocol takes over: transport, place in the server's list, and what came behind the request."""
        self._active = None
        self._closing = True
        self._waiting.clear()
        successive = successor(self._server, self._transport, self._send)
        self._transport.set_protocol(successive)
        self._server.replaced(self, successive)
        if self._writing_paused:
            successive.pause_writing()
        elif self._reading_paused:
            self._transport.resume_reading()
        if self._rest:
            successive.data_received(self._rest)

    def splicer(self) -> Callable[[bytes], None]:
        """What to call with blocks of a stream."""
        rounds = self._server.rounds
        return self._send if rounds is None else rounds.splicer(self._transport)

    def flush(self) -> None:
        """Send what waits for the end of the round."""
        self._server.flush()

    # inside

    def _next(self) -> None:
        """Hand over what waits, in order, until one stays unanswered; then guard what is still to come."""
        if self._dispatching:
            return
        if self._waiting:
            self._hand_over()
        if self._closing:
            return
        if self._active is None and self._refusal is not None:
            self._answer_refusal(*self._refusal)
            return
        if self._continue_due and self._active is None:
            self._continue_due = False
            self._send(_CONTINUE)
        if self._waiting or self._reading_paused:
            self._hold_back()
        self._guard()

    def _hand_over(self) -> None:
        self._dispatching = True
        try:
            while self._waiting and self._active is None and not self._closing:
                self._active = self._waiting.popleft()
                self._server.handler(self._active)
        finally:
            self._dispatching = False

    def _hold_back(self) -> None:
        """Read no further while a request waits for its turn."""
        hold = bool(self._waiting)
        if hold and not self._reading_paused:
            self._transport.pause_reading()
        elif self._reading_paused and not hold and self._refusal is None:
            self._transport.resume_reading()
        self._reading_paused = hold

    def _guard(self) -> None:
        """Set the deadline that the sweep compares with the clock. While the client takes no bytes, it has one."""
        if self._writing_paused:
            return
        if self._active is not None:
            self.deadline_s = inf
            self._guarded = _NOTHING
        elif self._receiving is _NOTHING:
            self.deadline_s = self._server.now_s() + self._server.limits.keep_alive_timeout_s
        elif self._receiving is not self._guarded:
            self._guarded = self._receiving
            self.deadline_s = self._server.now_s() + self._server.limits.head_timeout_s

    def _refuse_for(self, error: Exception) -> None:
        cause = error.__context__
        if isinstance(cause, Refused):
            self._refuse(*cause.args)
        else:
            self._refuse(400, f"this is not a well-formed HTTP request: {error}")

    def _refuse(self, status: int, message: str) -> None:
        """Take no further request; the answer goes out after those that came before it."""
        if self._refusal is None:
            self._refusal = (status, message)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """An upgrade was asked for: unless a handler takes it, the connection is closed after the answer."""
        if self._waiting and b"transfer-encoding" in self._waiting[-1].headers:
            self._waiting.pop()
            self._refuse(400, "an upgrade is not offered; send the request without the upgrade header")
        elif self._waiting:
            self._receiving = _BODY
            self._plain_body = PlainBody(self._waiting.pop())
            self._rest = rest[self._plain_body.missing_bytes :]
            self._feed_plain(self._plain_body, rest)

    def _feed_plain(self, body: PlainBody, data: bytes) -> None:
        if body.feed(data):
            self._plain_body = None
            self._receiving = self._guarded = _NOTHING
            self._waiting.append(body.exchange)

    def _answer_refusal(self, status: int, message: str) -> None:
        """Answer, end our side, and let what the client still sends run dry, so that it can read the answer."""
        self._closing = True
        headers, body = self._server.refusal(status, message, self._target)
        refused = Exchange(
            *(b"", b"", {}, b""),
            transport=self._transport,
            send=self._send,
            owner=Nobody(self.date_line),
            keep_alive=False,
            http_1_0=False,
        )
        refused.respond(status, headers, body)
        self.deadline_s = self._server.now_s() + self._server.limits.head_timeout_s
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        self._server.flush()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def overdue(self) -> None:
        """The sweep found the deadline passed."""
        self.deadline_s = inf
        if self._active is None and not self._closing and self._receiving is not _NOTHING:
            self._refuse(408, "the request did not come in time")
            self._next()
        else:
            self._transport.abort()

    def close_when_idle(self) -> None:
        """Close now if no request is being answered; else after it."""
        if self._active is None:
            self._closing = True
            self._close()

    def close_now(self) -> None:
        """Close whatever is going on."""
        self._transport.abort()

    def _close(self) -> None:
        self._server.flush()
        self._transport.close()
