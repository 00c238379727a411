"""The dashboard as an onlooker, without a socket: what it tells whom, and when."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from watching_rig import Client, Still


@pytest.mark.parametrize("step_s", [-7200.0, 7200.0])
def test_a_wall_clock_that_was_set_empties_no_window(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    async def scenario() -> None:
        wall = SimpleNamespace(time=lambda: 1e9 + still.second, monotonic=time.monotonic)
        monkeypatch.setattr("headrace.dashboard.watcher.time", wall)
        client = still.ask(Client(b"/admin/feed"))
        for second in range(120):
            still.second = float(second)
            still.request(second)
            if second == 60:
                wall.time = lambda: 1e9 + step_s + still.second
            still.dashboard.sweep()
        frames = client.events("frame")
        assert len(frames) == 121
        assert all(frame["flows"][0]["attempts_per_s"] == pytest.approx(1.0, rel=0.2) for frame in frames[20:])
        assert frames[-1]["at_unix_s"] == pytest.approx(1e9 + step_s + 119.0, abs=1.0)
        assert all(seen["e2e_s"] == 0.0 for seen in frames[-1]["ended"])
        assert [seen["arrived_unix_s"] for seen in frames[-1]["ended"]] == [
            pytest.approx(1e9 + step_s + second, abs=1.0) for second in range(119, 59, -1)
        ]

    still = Still()
    asyncio.run(scenario())
