"""A gateway in front of emulated providers, all on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import uvloop
from gateway_rig import ListLedger, read_answer

from headrace import rng
from headrace.config import load_fleet
from headrace.emulate import Emulator
from headrace.fleet import Fleet, Limits, OperatingPoint, Pool
from headrace.gateway import RunningGateway, start_gateway
from headrace.policy import PolicyEngine

MODEL = "gpt-oss-120b"
CHAT = "/v1/chat/completions"
GREETING = {"messages": [{"role": "user", "content": "hi"}]}
Ask = Callable[..., Awaitable[tuple[int, dict[bytes, bytes], bytes, bool]]]


def fleet_of(*dialects: str, lacks: tuple[str, ...] = (), names: tuple[str | None, ...] = ()) -> Fleet:
    """A pool for each dialect, the first the quickest; backends b0, b1, ... `names`: what each calls the model."""
    sample = load_fleet()
    pool = next(pool for pool in sample.pools.values() if pool.backends[0].name == "cerebras-1")
    called = dict(enumerate(names))
    pools = {f"p{i}": one_pool(pool, i, dialect, lacks, called.get(i)) for i, dialect in enumerate(dialects)}
    route = replace(sample.routes[0], pools=tuple(pools), model=None)
    return replace(sample, pools=pools, shares={}, routes=(route,))


def one_pool(pool: Pool, index: int, dialect: str, lacks: tuple[str, ...], name: str | None = None) -> Pool:
    point = OperatingPoint(0.001 * 10**index, 1e6, 0.0001)
    deployment = replace(pool.deployment, name=f"d{index}", accelerator=None, observed=point)
    backend = replace(pool.backends[0], name=f"b{index}", pool=f"p{index}", dialect=dialect, lacks=lacks)
    backend = replace(backend, served_model_name=name)
    return replace(pool, name=f"p{index}", deployment=deployment, backends=(backend,))


class Live(NamedTuple):
    """A gateway in front of emulated providers, while it listens."""

    gateway: RunningGateway
    engine: PolicyEngine
    ledger: ListLedger

    async def ask(
        self,
        fault: str = "",
        *,
        path: str = CHAT,
        headers: str = "",
        raw: bytes | None = None,
        tokens: int = 4,
        **fields: Any,
    ) -> tuple[int, dict[bytes, bytes], bytes, bool]:
        """Status, headers, body, and whether the body came to a proper end."""
        body = raw
        if body is None:
            given = {"model": MODEL, **(GREETING if path == CHAT else {}), **fields}
            body = json.dumps(given).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        head = f"POST {path} HTTP/1.1\r\nhost: h\r\nx-headrace-emulated-output-tokens: {tokens}\r\n{headers}"
        head += f"x-headrace-emulated-fault: {fault}\r\n" if fault else ""
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        try:
            return await asyncio.wait_for(read_answer(reader), 10)
        finally:
            writer.close()

    async def get(self, path: str, method: str = "GET", headers: str = "") -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: h\r\n{headers}\r\n".encode())
        status, headers, body, _ = await read_answer(reader)
        writer.close()
        return status, headers, body


@asynccontextmanager
async def emulated(
    *dialects: str,
    script: Any = None,
    lacks: tuple[str, ...] = (),
    limits: Limits | None = None,
    names: tuple[str | None, ...] = (),
) -> AsyncIterator[Live]:
    """A gateway in front of backends of these dialects; `script`: what the emulated model says."""
    fleet = fleet_of(*dialects, lacks=lacks, names=names)
    emulator = Emulator(fleet)
    urls = await emulator.start(ephemeral=True)
    pools = {
        name: replace(pool, backends=tuple(replace(b, url=urls[b.name]) for b in pool.backends))
        for name, pool in fleet.pools.items()
    }
    fleet = replace(fleet, pools=pools, limits=limits or fleet.limits)
    engine = PolicyEngine(fleet, rng.stream(0, "policy"))
    ledger = ListLedger()
    gateway = await start_gateway(fleet, engine, ledger, port=0, admin_port=None)
    try:
        for url in urls.values() if script is not None else ():
            await post(url, "/emulated/script", json.dumps(script).encode())
        yield Live(gateway, engine, ledger)
    finally:
        await gateway.close(0.0)
        await emulator.stop()


async def post(url: str, path: str, body: bytes) -> None:
    host = urlsplit(url)
    reader, writer = await asyncio.open_connection(host.hostname, host.port)
    writer.write(f"POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    assert (await read_answer(reader))[0] == 200
    writer.close()


def through(
    scenario: Callable[[Ask, PolicyEngine], Awaitable[Any]],
    *dialects: str,
    script: Any = None,
    with_ledger: bool = False,
    lacks: tuple[str, ...] = (),
    names: tuple[str | None, ...] = (),
) -> Any:
    """What `scenario` returns, given how to ask a gateway in front of backends of these dialects, and its engine.

    Args:
        script: what the emulated model says.
        with_ledger: the closed attempts are returned, too.
    """

    async def run() -> Any:
        async with emulated(*dialects, script=script, lacks=lacks, names=names) as live:
            result = await scenario(live.ask, live.engine)
            return (result, live.ledger.ended) if with_ledger else result

    return uvloop.run(run())
