"""Where a backend's name leads is judged when the connection is open, and nothing is sent to where it must not go."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "gateway"))

from gateway_rig import WHOLE, Rig, ScriptedBackend, post, run_rig

from headrace.fleet import Fleet, addresses
from headrace.fleet.addresses import forbidden
from headrace.http import ConnectionPool, FailedKind, PoolLimits

KEY = "sk-planted-backend-key-0123456789"
METADATA, ELSEWHERE, NAME = "127.0.0.7", "127.0.0.1", "provider.example"


class Sink:
    wants_framed = False

    def __init__(self) -> None:
        self.end: asyncio.Future[tuple[object, str]] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Not looked at."""

    def on_framed(self, block: bytes) -> None:
        """Not asked for."""

    def on_data(self, data: bytes) -> None:
        """Not looked at."""

    def on_end(self, explicit: bool) -> None:
        self.end.set_result((explicit, ""))

    def on_failed(self, kind: FailedKind, message: str) -> None:
        self.end.set_result((kind, message))


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A resolver whose one name leads where it is told; `METADATA` is an address of this machine that can be had."""
    monkeypatch.setattr(addresses, "METADATA_ADDRESSES", (METADATA,))
    real, leads_to = socket.getaddrinfo, ELSEWHERE

    def resolved(host: Any, *args: Any, **more: Any) -> Any:
        return real(leads_to if host in (NAME, NAME.encode()) else host, *args, **more)

    def point(address: str) -> None:
        nonlocal leads_to
        leads_to = address

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return point


async def ask(pool: ConnectionPool) -> tuple[object, str]:
    sink = Sink()
    pool.send(b"POST / HTTP/1.1\r\nhost: h\r\nauthorization: %b\r\n\r\n" % KEY.encode(), b"", sink)
    return await sink.end


def test_nothing_is_sent_to_where_a_name_must_not_lead(resolver: Callable[[str], None]) -> None:
    """The name passes as it is written, leads elsewhere later, and is refused from then on, until it is mended."""
    connections: list[str] = []
    received: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = writer.get_extra_info("sockname")[0]
        connections.append(host)
        if await reader.read(1):
            received.append(host)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(answer, ELSEWHERE, 0)
        port = server.sockets[0].getsockname()[1]
        other = await asyncio.start_server(answer, METADATA, port)
        assert forbidden(NAME) is None
        pool = ConnectionPool(f"http://{NAME}:{port}", PoolLimits(warm=1), forbids=forbidden)
        assert await ask(pool) == (True, "")
        resolver(METADATA)
        pool.warm_up()
        for end, message in await asyncio.gather(*(ask(pool) for _ in range(3))):
            assert end is FailedKind.REFUSED
            assert NAME in message
            assert METADATA in message
            assert "link_local = true" in message
        resolver(ELSEWHERE)
        assert await ask(pool) == (True, "")
        assert received == [ELSEWHERE, ELSEWHERE]
        unguarded = ConnectionPool(f"http://{METADATA}:{port}")
        assert await ask(unguarded) == (True, "")
        assert received[2:] == [METADATA]  # who looks there would have seen it
        for each in (pool, unguarded):
            await each.close()
        for listening in (server, other):
            listening.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))  # uvloop resolves by itself
    assert connections.count(METADATA) >= 2


@pytest.mark.parametrize("link_local", [False, True])
def test_a_gateway_uses_such_a_backend_only_if_it_is_said_to_be_there(
    link_local: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`localhost` passes as a name, and its address is taken for one that is forbidden."""
    monkeypatch.setenv("HEADRACE_TEST_KEY", KEY)
    monkeypatch.setattr(addresses, "METADATA_ADDRESSES", (ELSEWHERE,))
    backend = ScriptedBackend(WHOLE)

    async def scenario(rig: Rig) -> None:
        for _ in range(3):
            status, _, body, _ = await rig.ask(post())
            assert (status == 200) is link_local
            assert KEY.encode() not in body

    def named(fleet: Fleet) -> Fleet:
        (pool,) = fleet.pools.values()
        there = replace(pool.backends[0], url=f"http://localhost:{backend.port}", link_local=link_local)
        return replace(fleet, pools={pool.name: replace(pool, backends=(there,))})

    run_rig(scenario, backend, fleet_with=named)
    assert (backend.heads != []) is link_local
    said = caplog.text
    assert said.count("leads to an address that is not used") == (0 if link_local else 1)
    assert ("link_local = true" in said) is not link_local


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "fe80::1%eth0", "::ffff:169.254.169.254"])
def test_what_a_connection_says_of_its_other_end_is_judged_as_what_is_written(address: str) -> None:
    assert forbidden(address) is not None
    assert forbidden("93.184.215.14") is None
    assert forbidden("10.0.0.1") is None
