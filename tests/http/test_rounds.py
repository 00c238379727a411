"""Rounds keep the order of bytes, lose none, and rest only after busy rounds, never longer than set."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from headrace.http import Rounds
from headrace.http import rounds as rounds_module
from headrace.http.rounds import BUSY_BLOCKS


class Wire:
    """A transport that keeps what it is given, or is closed."""

    def __init__(self, log: list[tuple[str, bytes]], name: str, closed: bool = False) -> None:
        self.log = log
        self.name = name
        self.closed = closed

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("closed")
        self.log.append((self.name, data))


def transport(wire: Wire) -> asyncio.Transport:
    return cast(asyncio.Transport, wire)


def test_a_round_sends_everything_in_order_and_a_closed_transport_stops_no_other() -> None:
    async def main() -> None:
        log: list[tuple[str, bytes]] = []
        rounds = Rounds(asyncio.get_running_loop(), 0.0)
        a, b = rounds.sender(transport(Wire(log, "a"))), rounds.splicer(transport(Wire(log, "b")))
        dead = rounds.sender(transport(Wire(log, "dead", closed=True)))
        for send, data in ((a, b"1"), (dead, b"x"), (b, b"2"), (a, b"3")):
            send(data)
        assert log == []
        await asyncio.sleep(0)
        assert log == [("a", b"1"), ("b", b"2"), ("a", b"3")]
        a(b"4")
        rounds.flush()
        assert log[-1] == ("a", b"4")
        await asyncio.sleep(0)
        assert len(log) == 4

    asyncio.run(main())


@pytest.mark.parametrize(
    ("streamed", "whole", "round_s", "rests"),
    [(BUSY_BLOCKS, 0, 0.001, True), (BUSY_BLOCKS - 1, 50, 0.001, False), (50, 0, 0.0, False)],
)
def test_only_busy_rounds_of_streams_rest_and_never_longer_than_set(
    monkeypatch: pytest.MonkeyPatch, streamed: int, whole: int, round_s: float, rests: bool
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(rounds_module.time, "sleep", slept.append)
    monkeypatch.setattr(rounds_module.time, "monotonic", lambda: 5.0)

    async def main() -> None:
        rounds = Rounds(asyncio.get_running_loop(), round_s)
        wire = transport(Wire([], "a"))
        for _ in range(3):
            for _ in range(streamed):
                rounds.splicer(wire)(b"x")
            for _ in range(whole):
                rounds.sender(wire)(b"x")
            await asyncio.sleep(0)

    asyncio.run(main())
    assert bool(slept) is rests
    assert all(0.0 < rest_s <= round_s for rest_s in slept)
