"""Workers and gateways draw from one quota of a provider: through shared memory, and through a real Redis server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from gateway_rig import post
from served_rig import MODEL, Served, StreamingBackend, fleet_text, served, until
from test_gateways_and_redis import SERVER, TIMEOUT_S, limit, started

from headrace.wire import DONE

QUOTA = "[deployments.one.quota]\nrequests_per_day = 8\n[peers]\ninterval_s = 0.05\ndead_after_s = 30.0\n"
MOST = 8 + 1  # of two engines: one may not know better


def fleet_of(backend: StreamingBackend, more: str = "") -> str:
    """One backend with the quota; who was let wait for his part, which another one then took, waits for two seconds."""
    patient = "value_of_time_usd_per_s = 0.0003"
    return fleet_text({"one": backend.port}, QUOTA + more).replace(patient, f"{patient}\ntimeout_s = 2.0")


async def knows_the_other(gateway: Served) -> bool:
    return await limit(gateway) == 32  # half of what the backend takes


async def status(port: int) -> int:
    """Ask, and read the answer to its end if there is one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post(model=MODEL, max_tokens=3, messages=[{"role": "user", "content": "quick"}], stream=True))
    code = int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
    if code == 200:
        await reader.readuntil(DONE)
    writer.close()
    return code


async def answered(*ports: int, asked: int) -> int:
    """How many of so many requests, one after another at the ports in turn, got an answer; the others are refused."""
    codes = [await status(ports[k % len(ports)]) for k in range(asked)]
    assert set(codes) == {200, 503}
    return codes.count(200)


def test_workers_share_a_quota(tmp_path: Path) -> None:
    async def scenario() -> None:
        backend = StreamingBackend()
        await backend.start()
        fleet = tmp_path / "fleet.toml"
        fleet.write_text(fleet_of(backend))
        async with served(fleet, "--workers", "2") as gateway:
            assert 4 < await answered(gateway.port, asked=40) <= MOST
        assert backend.asked <= MOST
        await backend.stop()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT_S))


@pytest.mark.skipif(SERVER is None, reason="no redis-server or valkey-server on this machine")
def test_gateways_share_a_quota(tmp_path: Path) -> None:
    async def scenario() -> None:
        socket, backend = tmp_path / "redis.sock", StreamingBackend()
        await backend.start()
        redis = await started(socket)
        fleets = []
        for name in ("left", "right"):
            (tmp_path / name).mkdir()
            fleets.append(tmp_path / name / "fleet.toml")
            fleets[-1].write_text(fleet_of(backend, f'redis = "unix://{socket}"\n'))
        async with served(fleets[0]) as left, served(fleets[1]) as right:
            for gateway in (left, right):
                await until(lambda gateway=gateway: knows_the_other(gateway))
            assert 4 < await answered(left.port, right.port, asked=24) <= MOST
        redis.kill()
        await redis.wait()
        await backend.stop()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT_S))
