"""Asking what if: one at a time, and whoever asked is told what went wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path

import pytest
from watching_rig import Client, Still

from headrace.dashboard import Place
from headrace.dashboard.asking import CHUNK_CALLS, Asker
from headrace.dashboard.board import Board
from headrace.dashboard.ring import Ring
from headrace.policy import Arrived
from headrace.policy.journal import decode_entries, encode_entry

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


def filled(calls: int) -> Ring:
    ring = Ring()
    for number in range(calls):
        ring.record(float(number), Arrived(number, "chat", 100), [])
    ring.take()
    return ring


def test_another_workers_calls_are_encoded_in_pieces_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = [Board(Place(number, 3, tmp_path)) for number in range(3)]
    givers = [Asker(filled(10 * CHUNK_CALLS), board) for board in boards[1:]]
    asker, rounds, reads = Asker(filled(1), boards[0]), 0, []
    given = Board.given

    def counted(board: Board, since_s: float, known: dict[int, bytes]) -> object:
        found = given(board, since_s, known)
        reads.extend(found)
        return found

    async def scenario() -> None:
        nonlocal rounds
        others = asyncio.ensure_future(asker._others())
        await asyncio.sleep(0)
        wishes = boards[1].watched()
        givers[0].grant(wishes, 1000.0)
        givers[0].grant(wishes, 1000.0)
        while not given(boards[2], 0.0):
            rounds += 1
            await asyncio.sleep(0)
        while not reads:
            await asyncio.sleep(0.01)
        givers[1].grant(wishes, 2000.0)
        parts = await others
        assert [zero for zero, _ in parts] == [1000.0, 2000.0]
        assert all(len(calls.splitlines()) == 10 * CHUNK_CALLS for _, calls in parts)

    monkeypatch.setattr("headrace.dashboard.asking.Board.given", counted)
    monkeypatch.setattr("headrace.dashboard.asking.GIVE_S", 60.0)
    asyncio.run(scenario())
    assert rounds >= 10
    assert reads == [1, 2]


@pytest.mark.parametrize("row_bytes", [20, 1000, 1017, 1018, 1019, 1_000_000])
def test_calls_that_do_not_fit_lose_the_oldest_and_stay_whole(tmp_path: Path, row_bytes: int) -> None:
    boards = [Board(Place(number, 2, tmp_path), row_bytes) for number in range(2)]
    lines = [encode_entry(*call) for call in filled(100).kept]
    boards[1].give(1000.0, b"".join(lines))
    ((zero_unix_s, calls),) = boards[0].given(time.monotonic() - 60.0).values()
    kept = [entry.now_s for entry in decode_entries(calls.splitlines())]
    assert zero_unix_s == 1000.0
    assert kept == [float(number) for number in range(100 - len(kept), 100)]
    room = row_bytes - len(b"".join(lines[100 - len(kept) :]))
    assert len(kept) == 100 or room < len(lines[99 - len(kept)]) + 15
