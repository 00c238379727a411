"""Asking what if: one at a time, and whoever asked is told what went wrong."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest
from watching_rig import Client, Still

WISH = b'{"share":"fast","target":0.2}'


def wish() -> Client:
    return Client(b"/admin/what-if", b"POST", WISH)


async def answered(client: Client) -> str:
    """What it was answered, or the message of its error."""
    async with asyncio.timeout(60.0):
        while not client.took:
            await asyncio.sleep(0.01)
    told = json.loads(client.took[0])
    return str(told["error"]["message"] if "error" in told else told)


@pytest.fixture
def still() -> Still:
    found = Still()
    found.attach()
    found.request(1)
    return found


def test_a_second_wish_of_the_same_round_is_refused(still: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(*_: object) -> bytes:
        return b'"done"'

    async def scenario() -> None:
        first, second = still.ask(wish()), still.ask(wish())
        assert second.status == 429
        assert "runs already" in await answered(second)
        assert await answered(first) == "done"
        assert await answered(still.ask(wish())) == "done"

    monkeypatch.setattr("headrace.dashboard.asking._answer", answer)
    asyncio.run(scenario())


def test_a_simulation_that_takes_too_long_is_ended_and_that_is_told(
    still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        client = still.ask(wish())
        assert "took more than" in await answered(client)
        assert client.status == 500
        assert "took more than" in await answered(still.ask(wish()))

    monkeypatch.setattr("headrace.dashboard.asking.TIMEOUT_S", 0.0)
    asyncio.run(scenario())


def test_a_simulation_that_fails_is_told_of(still: Still, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        client = still.ask(wish())
        assert "ended with 1; the gateway's stderr says why" in await answered(client)
        assert client.status == 500

    monkeypatch.setattr("headrace.dashboard.asking.sys.executable", shutil.which("false"))
    asyncio.run(scenario())


def test_calls_of_another_worker_that_nobody_can_read_are_told_of(
    still: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def torn(_: object) -> bytes:
        raise ValueError("torn")

    async def scenario() -> None:
        assert await answered(still.ask(wish())) == "what-if: ValueError: torn"

    monkeypatch.setattr("headrace.dashboard.asking.Asker._others", torn)
    asyncio.run(scenario())
