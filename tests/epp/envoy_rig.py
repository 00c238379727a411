"""The real Envoy in front of emulated backends, and headrace as its endpoint picker."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from gateway_rig import ListLedger, read_answer

from headrace import rng
from headrace.config import load_fleet
from headrace.emulate import Emulator
from headrace.epp import Places, bootstrap, picker
from headrace.fleet import Fleet, Pool
from headrace.gateway import RunningGateway, start_gateway
from headrace.policy import PolicyEngine

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ROOT / ".venv/envoy/envoy/_bin/envoy"
CHAT = "/v1/chat/completions"
Answer = tuple[int, dict[bytes, bytes], bytes, bool]


def envoy_binary() -> str:
    """Where Envoy is; without one the test is skipped, except where it is required."""
    found = os.environ.get("HEADRACE_ENVOY") or (str(INSTALLED) if INSTALLED.exists() else shutil.which("envoy"))
    if found:
        return found
    reason = "no Envoy: `make envoy`, or set HEADRACE_ENVOY to its binary"
    if os.environ.get("HEADRACE_REQUIRE_ENVOY"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Rig(NamedTuple):
    """All of it, while it runs."""

    gateway: RunningGateway
    engine: PolicyEngine
    ledger: ListLedger
    fleet: Fleet
    port: int

    async def ask(self, *, fault: str = "", tokens: int = 4, headers: str = "", **fields: Any) -> Answer:
        """Status, headers, body, and whether the body came to a proper end."""
        reader, writer = await self.send(fault=fault, tokens=tokens, headers=headers, **fields)
        try:
            return await asyncio.wait_for(read_answer(reader), 60)
        finally:
            writer.close()

    async def send(
        self, *, fault: str = "", tokens: int = 4, headers: str = "", **fields: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        model = next(iter(self.fleet.models))
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: h\r\nx-headrace-emulated-output-tokens: {tokens}\r\n{headers}"
        head += f"x-headrace-emulated-fault: {fault}\r\n" if fault else ""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        return reader, writer

    async def get(self, path: str) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: h\r\n\r\n".encode())
        try:
            return await asyncio.wait_for(read_answer(reader), 60)
        finally:
            writer.close()


async def emulated_fleet(
    name: str = "small.toml", gone: tuple[str, ...] = (), called: str | None = None
) -> tuple[Fleet, Emulator]:
    """The example's fleet with every backend emulated on a free port; nobody listens for those that are `gone`.

    Args:
        called: what all backends call the model.
    """
    fleet = load_fleet(ROOT / "examples" / name)
    fleet = replace(fleet, pools={key: _called(pool, called) for key, pool in fleet.pools.items()})
    emulator = Emulator(fleet)
    urls = await emulator.start(ephemeral=True)
    urls |= {each: f"http://127.0.0.1:{free_port()}" for each in gone}
    pools = {
        key: replace(pool, backends=tuple(replace(b, url=urls[b.name]) for b in pool.backends))
        for key, pool in fleet.pools.items()
    }
    return replace(fleet, pools=pools), emulator


def _called(pool: Pool, name: str | None) -> Pool:
    return replace(pool, backends=tuple(replace(each, served_model_name=name) for each in pool.backends))


@asynccontextmanager
async def behind_envoy(
    tmp_path: Path, gone: tuple[str, ...] = (), called: str | None = None, pickers_gone: int = 0
) -> AsyncIterator[Rig]:
    binary = envoy_binary()
    fleet, emulator = await emulated_fleet(gone=gone, called=called)
    engine, ledger = PolicyEngine(fleet, rng.stream(0, "policy")), ListLedger()
    gateway = await start_gateway(fleet, engine, ledger, port=0, admin_port=0, front=picker())
    port, admin = free_port(), free_port()
    pickers = tuple(f"127.0.0.1:{each}" for each in (gateway.port, *(free_port() for _ in range(pickers_gone))))
    places = Places(f"127.0.0.1:{port}", f"127.0.0.1:{admin}", pickers, "/none")
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps(bootstrap(fleet, places)))
    log = tmp_path / "envoy.log"
    told = ("--log-path", str(log), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning")
    envoy = await asyncio.create_subprocess_exec(binary, "-c", str(config), *told)
    try:
        await _until_ready(envoy, admin, log)
        yield Rig(gateway, engine, ledger, fleet, port)
    finally:
        if envoy.returncode is None:
            envoy.kill()
        await envoy.wait()
        await gateway.close(0.0)
        await emulator.stop()


async def _until_ready(envoy: asyncio.subprocess.Process, admin: int, log: Path) -> None:
    while envoy.returncode is None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", admin)
            writer.write(b"GET /ready HTTP/1.1\r\nhost: h\r\n\r\n")
            status = (await read_answer(reader))[0]
            writer.close()
            if status == 200:
                return
        except OSError:
            pass
        await asyncio.sleep(0.05)
    pytest.fail(f"Envoy ended with {envoy.returncode}: {log.read_text() if log.exists() else ''}")
