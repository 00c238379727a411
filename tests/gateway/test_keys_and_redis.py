"""A Redis server that is gone costs nobody his key: what is asked of a key is in files and memory of this machine."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from served_rig import StreamingBackend, fleet_text, served, until
from test_gateways_and_redis import SERVER, TIMEOUT_S, heard, started
from test_keyed_workers import statuses

from headrace.tenancy import Key, changing, new_secret

ASKED = 12


@pytest.mark.skipif(SERVER is None, reason="no redis-server or valkey-server on this machine")
def test_a_valid_key_stays_valid_when_redis_is_gone_and_an_unknown_one_stays_unknown(tmp_path: Path) -> None:
    async def scenario() -> None:
        socket, backend = tmp_path / "redis.sock", StreamingBackend()
        await backend.start()
        redis = await started(socket)
        peers = f'[peers]\ninterval_s = 0.05\ndead_after_s = 0.5\nredis = "unix://{socket}"\n'
        tenants = '[tenants]\nkeys = "keys.json"\n[tenants.one]\nrequests_per_minute = 10000\nusd_per_day = 100.0\n'
        fleet = tmp_path / "fleet.toml"
        fleet.write_text(fleet_text({"one": backend.port}, peers + tenants))
        ours, unknown = new_secret(time.time()), new_secret(time.time()).text
        with changing(tmp_path / "keys.json") as keys:
            keys.append(Key(name="ours", tenant="one", secrets=(ours.kept,)))
        async with served(fleet, "--workers", "2") as gateway:
            await until(lambda: heard(gateway, True))
            assert await statuses(gateway.port, ours.text, ASKED) == {200: ASKED}
            redis.kill()
            await redis.wait()
            while not await heard(gateway, False):  # from the first moment without it to the last
                assert await statuses(gateway.port, ours.text, ASKED) == {200: ASKED}
            assert await statuses(gateway.port, ours.text, ASKED) == {200: ASKED}
            assert await statuses(gateway.port, unknown, ASKED) == {401: ASKED}
        async with served(fleet, "--workers", "2") as gateway:  # started without it
            await until(lambda: heard(gateway, False))
            assert await statuses(gateway.port, ours.text, ASKED) == {200: ASKED}
        await backend.stop()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT_S))
