"""Connection pools: warm keep-alive connections to one backend each.

Decide, then act: `send` changes the pool's state at once and returns; connecting goes on behind it. `repr(pool)` tells
the whole state. A request takes the idle connection used last (the others may cool down and be closed by the backend);
without one a connection is opened for it. A warm connection that turns out closed as soon as something is sent on it is
replaced by a fresh one, once, and nobody hears of it: backends close idle connections when they like. One that breaks
later may have been at work, and has failed.

Where a name leads is known when a connection is open, not before: the address at its other end is judged then, once,
and nothing is sent to one that is forbidden.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from headrace.http.client import ClientConnection, ClientExchange, FailedKind, ResponseSink
from headrace.http.rounds import Rounds

_CLOSED_AT_ONCE = "the backend closed the connection as soon as it was open"


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Sizes of a pool.

    Attributes:
        warm: connections that are opened ahead and kept.
        max_connections: beyond this, requests wait for a connection to be free.
        connect_timeout_s: a connection that is not there by then is refused.
    """

    warm: int = 1
    max_connections: int = 1024
    connect_timeout_s: float = 5.0


class ConnectionPool:
    """Connections to one base URL.

    Attributes:
        prefix: path of the base URL, to be put before endpoint paths.
        host_header: value of the host header that the backend expects.

    Args:
        rounds: writes in these rounds; None: each write at once.
        forbids: says why no request may go to an address, None where it may; None: every address is good.

    Raises:
        ValueError: the URL is not `http://host[:port][/path]` or https.
    """

    def __init__(
        self,
        url: str,
        limits: PoolLimits | None = None,
        *,
        ssl: tls.SSLContext | None = None,
        rounds: Rounds | None = None,
        forbids: Callable[[str], str | None] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not a backend's URL: write http://host:port or https://host/path")
        self.url = url
        self.rounds = rounds
        self.prefix = parts.path.rstrip("/").encode()
        self.host_header = parts.netloc.rpartition("@")[2].encode()
        self.limits = limits or PoolLimits()
        self._forbids = forbids
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._ssl = (ssl or tls.create_default_context()) if parts.scheme == "https" else None
        self._idle: list[ClientConnection] = []
        self._open: dict[ClientConnection, None] = {}
        self._waiting: deque[ClientExchange] = deque()
        self._connecting: dict[asyncio.Task[None], None] = {}
        self._closed = False

    def __repr__(self) -> str:
        return (
            f"<ConnectionPool {self.url} idle={len(self._idle)} active={len(self._open) - len(self._idle)} "
            f"connecting={len(self._connecting)} waiting={len(self._waiting)}{' closed' if self._closed else ''}>"
        )

    def send(self, head: bytes, body: bytes, sink: ResponseSink, method: bytes = b"POST") -> ClientExchange:
        """Send a request: `head` is the whole head with its empty line. The sink is called later, never from here."""
        exchange = ClientExchange(self, head, body, sink, method)
        if self._idle:
            self._idle.pop().send(exchange)
        else:
            self._wait(exchange)
        return exchange

    def warm_up(self) -> None:
        """Open connections until `limits.warm` are there. A failure is silent: the next request will find out."""
        missing = self.limits.warm - len(self._open) - len(self._connecting)
        for _ in range(missing):
            self._connect()

    async def close(self) -> None:
        """Close every connection; requests on the way fail."""
        self._closed = True
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self._open):
            connection.drop()
        while self._waiting:
            self._fail(self._waiting.popleft(), "the pool is closed")
        await asyncio.sleep(0)

    # what exchanges and connections say

    def cancel(self, exchange: ClientExchange) -> None:
        """A request that waits for a connection is not wanted any more."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)

    def connection_free(self, connection: ClientConnection) -> None:
        """The connection can take another request."""
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def connection_gone(self, connection: ClientConnection) -> None:
        """The connection is closed."""
        self._open.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)
        if len(self._waiting) > len(self._connecting):
            self._connect()

    def retry(self, exchange: ClientExchange) -> None:
        """A warm connection turned out closed: the others may be too, so this request gets a fresh one."""
        exchange.fresh = True
        self._wait(exchange)

    # inside

    def _wait(self, exchange: ClientExchange) -> None:
        if exchange.fresh:
            self._waiting.appendleft(exchange)
        else:
            self._waiting.append(exchange)
        if len(self._open) + len(self._connecting) < self.limits.max_connections:
            self._connect()

    def _connect(self) -> None:
        if self._closed:
            asyncio.get_running_loop().call_soon(self._connect_failed, "the pool is closed")
            return
        task = asyncio.get_running_loop().create_task(self._connect_now())
        self._connecting[task] = None

    async def _connect_now(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(self.limits.connect_timeout_s):
                transport, connection = await loop.create_connection(
                    lambda: ClientConnection(self),
                    self._host,
                    self._port,
                    ssl=self._ssl,
                    server_hostname=self._host if self._ssl else None,
                )
        except (OSError, TimeoutError) as error:
            self._connecting.pop(task, None)
            self._connect_failed(str(error) or type(error).__name__)
            return
        except asyncio.CancelledError:
            self._connecting.pop(task, None)
            raise
        self._connecting.pop(task, None)
        fault = self._fault_of(transport)
        if fault is None:
            self._connected(connection)
        else:
            connection.drop()
            self._connect_failed(fault)

    def _fault_of(self, transport: asyncio.BaseTransport) -> str | None:
        """Why nothing may be sent on this fresh connection; None: it may."""
        if self._forbids is None:
            return None
        peer = transport.get_extra_info("peername")
        return _CLOSED_AT_ONCE if peer is None else self._forbids(peer[0])

    def _connected(self, connection: ClientConnection) -> None:
        if connection.closed:
            self._connect_failed(_CLOSED_AT_ONCE)
            return
        self._open[connection] = None
        if self._waiting:
            exchange = self._waiting.popleft()
            exchange.fresh = True
            connection.send(exchange)
        else:
            self._idle.append(connection)

    def _connect_failed(self, message: str) -> None:
        if self._waiting:
            self._fail(self._waiting.popleft(), message)
        if len(self._waiting) > len(self._connecting) and not self._closed:
            self._connect()

    def _fail(self, exchange: ClientExchange, message: str) -> None:
        exchange.fail(FailedKind.REFUSED, f"no connection to {self.url}: {message}")
