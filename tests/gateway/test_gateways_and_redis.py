"""Two gateways over one fleet and a real Redis server, which is stopped and started again while streams run."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from served_rig import Served, Stream, StreamingBackend, fleet_text, served, until

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
TIMEOUT_S = 90.0


async def started(socket: Path) -> asyncio.subprocess.Process:
    given = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(socket.parent)]
    process = await asyncio.create_subprocess_exec(str(SERVER), *given, stdout=subprocess.PIPE)
    assert process.stdout is not None
    while b"eady to accept connections" not in await process.stdout.readline():
        assert process.returncode is None
    return process


async def limit(gateway: Served) -> int:
    return int((await gateway.state())["engine"]["backends"][0]["max_in_flight"])


async def heard(gateway: Served, expected: bool) -> bool:
    return bool(((await gateway.state())["peers"] == "heard") is expected)


@pytest.mark.skipif(SERVER is None, reason="no redis-server or valkey-server on this machine")
def test_gateways_share_a_limit_carry_on_without_the_server_and_find_it_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        socket, backend = tmp_path / "redis.sock", StreamingBackend()
        await backend.start()
        redis = await started(socket)
        table = f'[peers]\ninterval_s = 0.05\ndead_after_s = 1.0\nredis = "unix://{socket}"\n'
        fleets = []
        for name in ("left", "right"):
            (tmp_path / name).mkdir()
            fleets.append(tmp_path / name / "fleet.toml")
            fleets[-1].write_text(fleet_text({"one": backend.port}, table, max_in_flight=12))
        async with served(fleets[0]) as left, served(fleets[1]) as right:
            steady = [Stream() for _ in range(6)]
            running = [asyncio.ensure_future(each.run(left.port)) for each in steady]
            await asyncio.gather(*(each.began.wait() for each in steady))

            async def right_has_what_is_left() -> bool:
                return await limit(right) < 12

            await until(right_has_what_is_left)
            redis.kill()
            await redis.wait()
            for gateway in (left, right):
                await until(lambda gateway=gateway: heard(gateway, False))
                assert await gateway.metric("headrace_peers_unheard") == 1
                assert (await Stream().run(gateway.port, "quick", 3)).complete

            async def alone() -> bool:
                return await limit(right) == 12

            await until(alone)
            redis = await started(socket)
            for gateway in (left, right):
                await until(lambda gateway=gateway: heard(gateway, True))
            await until(right_has_what_is_left)
            backend.released.set()
            await asyncio.gather(*running)
            assert all(each.complete for each in steady)
            for gateway in (left, right):
                assert sum("cannot be heard" in line for line in gateway.said) == 1
                assert (await gateway.get("/health/ready"))[0] == 200
        redis.kill()
        await redis.wait()
        await backend.stop()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT_S))
