"""An HTTP/1.1 server over asyncio protocols: the front of the gateway and of the emulator.

No task, no coroutine and no stream object per request: bytes come in, httptools parses them, and a complete request is
handed to a synchronous handler as an `Exchange`, which answers at once or later. Requests on one connection are
answered in order: while one is being answered, later ones wait, and the connection is not read beyond the first that
waits. Time guards are one sweep per server, not a timer per request.

What cannot be a request is refused here, before any handler: a bad head 400, one too large 431, a body too large 413,
one that does not come in time 408. After a refusal the connection takes no further request.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from email.utils import formatdate
from ssl import SSLContext
from typing import Any

from headrace.http.exchange import Exchange, header_lines
from headrace.http.limits import HttpLimits
from headrace.http.rounds import Rounds
from headrace.http.server_connection import ServerConnection
from headrace.http.websocket import WebSocket

Handler = Callable[[Exchange], None]
Refusal = Callable[[int, str, bytes], tuple[bytes, bytes]]

_BACKLOG = 4096


def plain_refusal(status: int, message: str, target: bytes) -> tuple[bytes, bytes]:
    """Header lines and body of a refusal: plain text."""
    return header_lines((b"content-type", b"text/plain; charset=utf-8")), f"{message}\n".encode()


class Server:
    """A listening server.

    Attributes:
        port: the port it listens on.
        connections: open connections.
        draining: it takes no new connection, and closes each one after the response that is under way.
    """

    def __init__(self, handler: Handler, limits: HttpLimits, refusal: Refusal, rounds: Rounds | None) -> None:
        loop = asyncio.get_running_loop()
        self.handler = handler
        self.limits = limits
        self.refusal = refusal
        self.rounds = rounds
        self.draining = False
        self.port = 0
        self.date_line = b""
        self.now_s = loop.time
        self._loop = loop
        self._listeners: list[asyncio.Server] = []
        self._connections: dict[ServerConnection | WebSocket, None] = {}
        self._by_address: dict[str, int] = {}
        self._emptied: asyncio.Event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    def sweep(self, now_s: float) -> None:
        """Apply the time guards as of `now_s` on the event loop's clock."""
        self.date_line = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in list(self._connections):
            connection.date_line = self.date_line
            if connection.deadline_s <= now_s:
                connection.overdue()

    def flush(self) -> None:
        """Send what waits for the end of the round."""
        if self.rounds is not None:
            self.rounds.flush()

    async def drain(self, timeout_s: float) -> bool:
        """Stop accepting, let what is under way end, then close; False if `timeout_s` cut something off."""
        self.draining = True
        self._stop_listening()
        for connection in list(self._connections):
            connection.close_when_idle()
        clean = True
        if self._connections:
            self._emptied.clear()
            try:
                await asyncio.wait_for(self._emptied.wait(), timeout_s)
            except TimeoutError:
                clean = False
        await self.close()
        return clean

    async def close(self) -> None:
        """Close the listener and every connection at once."""
        self.draining = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._connections):
            connection.close_now()
        self._stop_listening()
        await asyncio.sleep(0)

    async def listen(self, host: str, port: int, ssl: SSLContext | None, reuse_port: bool) -> None:
        """Take connections on this address. Raises OSError: it cannot be had."""
        listener = await self._loop.create_server(
            self._connection, host, port, backlog=_BACKLOG, reuse_port=reuse_port or None, **self._ssl_options(ssl)
        )
        self._listeners = [listener]
        self.port = listener.sockets[0].getsockname()[1]

    async def use_ssl(self, ssl: SSLContext) -> None:
        """Take new connections with this context: on the sockets that listen, so that none is missed meanwhile."""
        before, after = self._listeners, []
        for each in [bound for listener in before for bound in listener.sockets]:
            same = socket.socket(fileno=os.dup(each.fileno()))
            listener = await self._loop.create_server(
                self._connection, sock=same, backlog=_BACKLOG, **self._ssl_options(ssl)
            )
            after.append(listener)
        self._listeners = after
        for listener in before:
            listener.close()
        if self.draining:
            self._stop_listening()

    def _ssl_options(self, ssl: SSLContext | None) -> dict[str, Any]:
        return {} if ssl is None else {"ssl": ssl, "ssl_handshake_timeout": self.limits.head_timeout_s}

    def _connection(self) -> ServerConnection:
        return ServerConnection(self)

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _sweep_again(self) -> None:
        self.sweep(self.now_s())
        self._timer = self._loop.call_later(self.limits.sweep_interval_s, self._sweep_again)

    def opened(self, connection: ServerConnection) -> None:
        """A client connected."""
        self._connections[connection] = None
        if len(self._connections) > self.limits.max_connections or self.draining or self._crowded(connection):
            connection.close_now()

    def _crowded(self, connection: ServerConnection) -> bool:
        """Whether its address has more connections than it may; counted where there is a limit."""
        most = self.limits.max_connections_per_address
        if most is None:
            return False
        self._by_address[connection.address] = count = self._by_address.get(connection.address, 0) + 1
        return count > most

    def _leaves(self, address: str) -> None:
        left = self._by_address.get(address, 0) - 1
        if left > 0:
            self._by_address[address] = left
        else:
            self._by_address.pop(address, None)

    def replaced(self, connection: ServerConnection, successor: WebSocket) -> None:
        """A client's connection speaks another protocol from here on."""
        del self._connections[connection]
        self._connections[successor] = None

    def closed(self, connection: ServerConnection | WebSocket) -> None:
        """A client's connection is closed."""
        self._connections.pop(connection, None)
        if self._by_address:
            self._leaves(connection.address)
        if not self._connections:
            self._emptied.set()


async def serve(
    handler: Handler,
    host: str,
    port: int,
    limits: HttpLimits | None = None,
    *,
    refusal: Refusal = plain_refusal,
    ssl: SSLContext | None = None,
    rounds: Rounds | None = None,
    reuse_port: bool = False,
) -> Server:
    """Listen on `host` and `port` (0: any free one) and give every complete request to `handler`.

    Args:
        rounds: writes in these rounds; None: each write at once.
        reuse_port: other processes listen on the same port, and the kernel deals connections to them.
        refusal: header lines and body for what is refused before any handler sees it, given the status, a message and
            the target, as far as it has come.

    Raises:
        OSError: the address cannot be had.
    """
    server = Server(handler, limits or HttpLimits(), refusal, rounds)
    await server.listen(host, port, ssl, reuse_port)
    server._sweep_again()
    return server
