"""Raw bytes to and from a server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from headrace.http import Exchange, HttpLimits, Server, serve


class Served:
    """A server whose handler answers everything.

    Attributes:
        requests: what the handler was given, in order.
        faults: what the event loop was told of and nobody handled.
    """

    def __init__(self) -> None:
        self.server: Server = None  # type: ignore[assignment]  # set before anything else is called
        self.requests: list[Exchange] = []
        self.faults: list[Any] = []

    def handle(self, exchange: Exchange) -> None:
        self.requests.append(exchange)
        exchange.respond(200, b"", b"fine")

    async def say(self, *pieces: bytes, leaves: bool = False) -> bytes:
        """Everything that the server answers until it closes; `leaves`: the client ends its side after a moment."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        answer = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if leaves:
                await asyncio.sleep(0.005)
                writer.write_eof()
            while block := await reader.read(65536):
                answer += block
        except ConnectionError:
            pass
        finally:
            writer.close()
        return answer


def served(
    scenario: Callable[[Served], Awaitable[None]], limits: HttpLimits | None = None, timeout_s: float = 20
) -> None:
    """Run a scenario against a server."""

    async def main() -> None:
        rig = Served()
        asyncio.get_running_loop().set_exception_handler(lambda _, told: rig.faults.append(told))
        rig.server = await serve(rig.handle, "127.0.0.1", 0, limits)
        try:
            await asyncio.wait_for(scenario(rig), timeout_s)
        finally:
            await rig.server.close()
        assert rig.faults == []

    uvloop.run(main())


def statuses(answer: bytes) -> list[int]:
    """The status of every answer, each of which has a length."""
    found = []
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        found.append(int(lines[0].split(b" ")[1]))
        length = int(dict(line.lower().split(b": ", 1) for line in lines[1:]).get(b"content-length", b"0"))
        answer = rest[length:]
    return found
