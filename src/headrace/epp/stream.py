"""One `ext_proc` stream, from the head that Envoy tells of to the last piece of the answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import grpc

from headrace.epp.exchange import EnvoyExchange
from headrace.epp.ext_proc import Told
from headrace.epp.messages import Head, Lines, answered_here, in_full_duplex, read_head, read_lines, subset
from headrace.gateway.routes import refusal
from headrace.http import Handler
from headrace.http.rounds import Rounds

HIGH_WATER_BYTES: Final = 256 * 1024
LOW_WATER_BYTES: Final = 64 * 1024
MODES = "set request_body_mode and response_body_mode of the filter to FULL_DUPLEX_STREAMED\n"


class Stream:
    """Reads what Envoy says, gives the request to `handler` once it is complete, and writes what is to be said."""

    def __init__(self, handler: Handler, rounds: Rounds, max_body_bytes: int) -> None:
        self._handler = handler
        self._rounds = rounds
        self._max_body_bytes = max_body_bytes
        self._head: Head | None = None
        self._allowed: frozenset[str] | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._refused = False
        self._exchange: EnvoyExchange | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._something, self._readable = asyncio.Event(), asyncio.Event()
        self._readable.set()
        self._is_broken = self._is_full = False

    async def run(self, context: Any) -> None:
        """Until Envoy ends the stream, or the answer breaks."""
        reader, writer = asyncio.ensure_future(self._read(context)), asyncio.ensure_future(self._write(context))
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reader, writer):
                task.cancel()
            if self._exchange is not None:
                self._exchange.gone()
        if reader.done() and not reader.cancelled() and (error := reader.exception()) is not None:
            raise error
        if self._is_broken:
            await context.abort(grpc.StatusCode.ABORTED, "the answer broke off")

    async def _read(self, context: Any) -> None:
        while True:
            await self._readable.wait()
            message = await context.read()
            if message is grpc.aio.EOF:
                return
            self._told(message)

    async def _write(self, context: Any) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._waiting:
                said = self._waiting.popleft()
                await context.write(said)
                self._waiting_bytes -= len(said)
                self._flow()
            if self._is_broken:
                return

    # what Envoy says

    def _told(self, message: Told) -> None:
        kind = message.WhichOneof("request")
        if self._refused:
            return
        if kind == "request_headers":
            self._begin(message)
        elif kind == "request_body":
            self._more(message.request_body.body, message.request_body.end_of_stream)
        elif kind == "request_trailers":
            self._more(b"", True, trailers=True)
        elif self._exchange is not None:
            self._exchange.told(message)

    def _begin(self, message: Told) -> None:
        self._head = read_head(message.request_headers)
        self._allowed = subset(message)
        if not in_full_duplex(message):
            self._refuse(500, [("content-type", b"text/plain")], MODES.encode())
        elif message.request_headers.end_of_stream:
            self._more(b"", True)

    def _more(self, data: bytes, ends: bool, *, trailers: bool = False) -> None:
        if self._head is None or self._exchange is not None:
            return
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > self._max_body_bytes:
            said = f"the body is larger than {self._max_body_bytes} bytes, which is the limit"
            headers, body = refusal(413, said, self._head.pseudo.get(":path", b""))
            self._refuse(413, read_lines(headers), body)
        elif ends:
            exchange = EnvoyExchange(
                self._head, b"".join(self._body), say=self._say, broken=self._break, reading=self._keep_reading
            )
            self._body.clear()
            exchange.allowed = self._allowed
            if trailers:
                exchange.trailed()
            self._exchange = exchange
            self._handler(exchange)

    def _refuse(self, status: int, lines: Lines, body: bytes) -> None:
        self._refused = True
        self._body.clear()
        self._say(answered_here(status, lines, body))

    # what is said to Envoy

    def _say(self, message: bytes) -> None:
        self._waiting_bytes += len(message)
        self._rounds.write(self._push, message)
        self._flow()

    def _push(self, message: bytes) -> None:
        self._waiting.append(message)
        self._something.set()

    def _break(self) -> None:
        self._rounds.write(self._broke, b"")  # behind what was said before

    def _broke(self, nothing: bytes) -> None:
        self._is_broken = True
        self._something.set()

    def _keep_reading(self, wanted: bool) -> None:
        if wanted:
            self._readable.set()
        else:
            self._readable.clear()

    def _flow(self) -> None:
        """Hold the backend back while Envoy takes the answer more slowly than it comes."""
        exchange = self._exchange
        if self._is_full:
            if self._waiting_bytes < LOW_WATER_BYTES:
                self._is_full = False
                _call(None if exchange is None else exchange.on_resume)
        elif self._waiting_bytes > HIGH_WATER_BYTES and exchange is not None:
            self._is_full = True
            _call(exchange.on_pause)


def _call(listener: Callable[[], None] | None) -> None:
    if listener is not None:
        listener()
