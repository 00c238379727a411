"""`headrace serve` as a process of its own, in front of a backend that streams for as long as a test wants."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway_rig import post, read_answer

from headrace.http import Exchange, HttpLimits, Server, header_lines, serve
from headrace.wire import DONE, chat_chunk, chat_usage_chunk

MODEL = "gpt-oss-120b"
SSE = header_lines((b"content-type", b"text/event-stream"))
TOKEN = chat_chunk("c", MODEL, 1, "t")
STOP = chat_chunk("c", MODEL, 1, None, finish_reason="stop")
FLEET = """
schema = 1
default_class = "chat"
[models.gpt-oss-120b]
[classes.chat]
value_of_time_usd_per_s = 0.0003
"""
POOL = """
[deployments.{name}]
model = "gpt-oss-120b"
[deployments.{name}.observed]
ttft_s = {ttft_s}
input_tokens_per_s = 10000.0
tpot_s = 0.01
[pools.{name}]
deployment = "{name}"
[pools.{name}.price]
type = "per_token"
input_usd_per_mtok = 0.1
output_usd_per_mtok = 0.4
[[pools.{name}.backends]]
name = "{name}-1"
url = "http://127.0.0.1:{port}"
max_in_flight = {max_in_flight}
"""


def fleet_text(ports: dict[str, int], more: str = "", *, max_in_flight: int = 64) -> str:
    """A pool for each port, the first the quickest; `more`: further tables."""
    pools = [
        POOL.format(name=name, port=port, max_in_flight=max_in_flight, ttft_s=0.1 * 3**k)
        for k, (name, port) in enumerate(ports.items())
    ]
    routes = f"[[routes]]\npools = {json.dumps(list(ports))}\n"
    return FLEET + "".join(pools) + routes + more


class StreamingBackend:
    """Streams a token per turn of its loop to everybody, `steady` ones until `release`, others `max_tokens` of them."""

    def __init__(self) -> None:
        self.port = 0
        self.live = 0
        self.most = 0
        self.asked = 0
        self.released = asyncio.Event()
        self._server: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await serve(self._handle, "127.0.0.1", 0, HttpLimits())
        self.port = self._server.port

    async def stop(self) -> None:
        self.released.set()
        if self._server is not None:
            await self._server.close()

    def _handle(self, exchange: Exchange) -> None:
        self.asked += 1
        task = asyncio.ensure_future(self._stream(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(self, exchange: Exchange) -> None:
        body = json.loads(exchange.body)
        steady, most = (
            body["messages"][0]["content"] == "steady",
            body.get("max_tokens") or body["max_completion_tokens"],
        )
        exchange.start(200, SSE)
        self.live += 1
        self.most = max(self.most, self.live)
        sent = 0
        try:
            while exchange.open and (not self.released.is_set() if steady else sent < most):
                sent += 1
                exchange.write(TOKEN)
                await asyncio.sleep(0.005)
        finally:
            self.live -= 1
        if exchange.open:
            exchange.write(STOP + chat_usage_chunk("c", MODEL, 1, 7, sent, 0) + DONE)
            exchange.finish()


@dataclass
class Stream:
    """One request and what its client got."""

    body: bytes = b""
    ended: bool = False
    status: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def tokens(self) -> int:
        return self.body.count(b'"content":"t"')

    @property
    def complete(self) -> bool:
        return self.ended and DONE in self.body

    async def run(self, port: int, content: str = "steady", max_tokens: int = 5) -> Stream:
        request = post(model=MODEL, max_tokens=max_tokens, messages=[{"role": "user", "content": content}], stream=True)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            self.status = int(head.split(b" ", 2)[1])
            while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
                self.body += (await reader.readexactly(size + 2))[:-2]
                self.began.set()
            await reader.readexactly(2)
            self.ended = True
            writer.close()
        self.began.set()
        return self


@dataclass
class Served:
    """A running `headrace serve`; `said`: what it wrote to standard error."""

    process: asyncio.subprocess.Process
    port: int
    admin_port: int
    said: list[str] = field(default_factory=list)

    async def get(self, path: str, *, admin: bool = True) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port if admin else self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n".encode())
        status, _, body, _ = await read_answer(reader)
        writer.close()
        return status, body

    async def state(self) -> Any:
        return json.loads((await self.get("/admin/state"))[1])

    async def metric(self, name: str) -> float:
        """The sum over the rows of a metric, labels or not."""
        lines = (await self.get("/metrics"))[1].decode().splitlines()
        rows = [line for line in lines if line.startswith((name + " ", name + "{"))]
        return sum(float(line.rpartition(" ")[2]) for line in rows)


async def until(condition: Callable[[], Any]) -> None:
    """Until it holds; it may be a coroutine function, which asks a gateway whose worker has just been killed."""
    while True:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
        await asyncio.sleep(0.02)


@asynccontextmanager
async def served(fleet: Path, *arguments: str) -> AsyncIterator[Served]:
    """`headrace serve FLEET` with these arguments on free ports; its ledger is `usage` beside the fleet file."""
    command = [sys.executable, "-m", "headrace.cli", "serve", str(fleet), "--port", "0", "--admin-port", "0"]
    process = await asyncio.create_subprocess_exec(
        *command, "--ledger", str(fleet.parent / "usage"), *arguments, stderr=asyncio.subprocess.PIPE, cwd=fleet.parent
    )
    assert process.stderr is not None
    said: list[str] = []

    async def listen() -> None:
        while line := (await process.stderr.readline()).decode():  # type: ignore[union-attr]
            said.append(line)

    listening = asyncio.ensure_future(listen())
    try:
        await until(lambda: sum("127.0.0.1:" in line for line in said) >= 2 or listening.done())
        addresses = [line for line in said if "127.0.0.1:" in line]
        assert len(addresses) == 2, said
        port, admin_port = (int(line.split("127.0.0.1:")[1].split("/")[0]) for line in addresses)
        yield Served(process, port, admin_port, said)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
        await process.wait()
        await listening
