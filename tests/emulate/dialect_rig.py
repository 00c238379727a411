"""Emulated backends of any dialect on one port each, and raw requests to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple

import uvloop

from headrace.config import load_fleet
from headrace.emulate import Emulator
from headrace.fleet import Fleet, OperatingPoint, Quota

MODEL = "gpt-oss-120b"
BACKEND = "cerebras-1"
FAULT = "x-headrace-emulated-fault"
TOKENS = "x-headrace-emulated-output-tokens"
MESSAGES = [{"role": "user", "content": "abcd" * 10}]


class Reply(NamedTuple):
    """An answer: `whole` says whether its body came to a proper end."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of each event, decoded; `[DONE]` as the text."""
        found = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return ["[DONE]" if data == b"[DONE]" else json.loads(data) for data in found]


async def ask(port: int, path: str, body: object, **headers: str) -> Reply:
    """Post `body` over a connection of its own."""
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST {path} HTTP/1.1\r\nhost: h\r\n{lines}content-length: {len(data)}\r\n\r\n".encode() + data)
    try:
        return await _read(reader)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Reply:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:-2])
    status, body = int(lines[0].split(" ")[1]), b""
    try:
        if "content-length" in headers:
            return Reply(status, headers, await reader.readexactly(int(headers["content-length"])), True)
        while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    except asyncio.IncompleteReadError as error:
        return Reply(status, headers, body + error.partial, False)
    return Reply(status, headers, body, True)


async def chat(port: int, headers: dict[str, str] | None = None, **fields: object) -> Reply:
    """A chat request for six tokens."""
    named = {TOKENS: "6", **(headers or {})}
    return await ask(port, "/v1/chat/completions", {"model": MODEL, "messages": MESSAGES, **fields}, **named)


def fleet_of(dialect: str, quota: Quota | None = None) -> Fleet:
    """The sample fleet, its fast backend one that speaks `dialect`, quick and with these rate limits."""
    fleet = load_fleet()
    pool = next(pool for pool in fleet.pools.values() if pool.backends[0].name == BACKEND)
    point = OperatingPoint(0.001, 1e6, 0.0001)
    service = replace(pool.deployment, accelerator=None, observed=point, quota=quota)
    backend = replace(pool.backends[0], dialect=dialect)
    return replace(fleet, pools={pool.name: replace(pool, deployment=service, backends=(backend,))})


def emulated(dialect: str, scenario: Callable[[int], Awaitable[Any]], quota: Quota | None = None) -> Any:
    """What `scenario` returns, given the port of a backend of this dialect."""

    async def run() -> Any:
        emulator = Emulator(fleet_of(dialect, quota))
        urls = await emulator.start(ephemeral=True)
        try:
            return await asyncio.wait_for(scenario(int(urls[BACKEND].rpartition(":")[2])), 20)
        finally:
            await emulator.stop()

    return uvloop.run(run())
