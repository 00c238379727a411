"""The dashboard as an onlooker, without a socket: what it tells whom, and when."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from watching_rig import Client, Still

from headrace.dashboard import Place
from headrace.dashboard.watcher import CATCH_UP_CALLS


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Still:
    found = Still()
    monkeypatch.setattr("headrace.dashboard.watcher.time", found)
    found.attach()
    return found


@pytest.mark.parametrize("step_s", [-7200.0, 7200.0])
def test_a_wall_clock_that_was_set_empties_no_window(still: Still, step_s: float) -> None:
    client = still.ask(Client(b"/admin/feed"))
    for second in range(1, 120):
        still.second = float(second)
        still.request(second)
        if second == 60:
            still.zero_unix_s += step_s
        still.dashboard.sweep()
    frames = client.events("frame")
    assert len(frames) == 120
    assert all(frame["flows"][0]["attempts_per_s"] == pytest.approx(1.0, rel=0.1) for frame in frames[20:])
    assert [frame["at_unix_s"] for frame in frames] == [
        1e9 + second + (step_s if second >= 60 else 0.0) for second in range(120)
    ]
    ended = frames[-1]["ended"]
    assert all(seen["e2e_s"] == 0.0 for seen in ended)
    assert [seen["arrived_unix_s"] for seen in ended] == [1e9 + step_s + second for second in range(119, 59, -1)]


def test_a_viewer_with_a_slow_link_misses_frames_and_nothing_else(still: Still) -> None:
    slow, quick = Client(b"/admin/feed"), Client(b"/admin/feed")
    slow.full = True
    for client in (slow, quick):
        still.ask(client)
    for second in range(1, 6):
        still.second = float(second)
        still.dashboard.sweep()
    assert not slow.aborted
    assert (len(slow.events("history")), len(slow.events("frame"))) == (1, 1)
    slow.full = False
    slow.on_resume()
    still.second = 6.0
    still.dashboard.sweep()
    assert len(slow.events("history")) == len(quick.events("history")) == 1
    assert [frame["up_s"] for frame in slow.events("frame")] == [0.0, 6.0]
    assert [frame["up_s"] for frame in quick.events("frame")][-6:] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_viewer_that_left_while_it_was_full_is_forgotten(still: Still) -> None:
    client = Client(b"/admin/feed")
    client.full = True
    still.ask(client)
    client.on_gone()
    told = len(client.took)
    still.dashboard.sweep()
    assert len(client.took) == told


def test_who_looks_while_the_dashboard_catches_up_gets_each_frame_once(still: Still) -> None:
    async def scenario() -> None:
        still.dashboard.sweep()
        for number in range(5 * CATCH_UP_CALLS):
            still.request(number)
        feed = still.ask(Client(b"/admin/feed"))
        still.second = 1.0
        still.dashboard.sweep()
        one = still.ask(Client(b"/admin/frame"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(feed.events("frame")) == 1
        assert len(one.took) == 1
        still.second = 2.0
        still.dashboard.sweep()
        assert len(feed.events("frame")) == 2

    asyncio.run(scenario())


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Still]:
    """Three workers of one gateway, by one clock."""
    found = [Still(Place(number, 3, tmp_path)) for number in range(3)]
    for module in ("dashboard.watcher", "dashboard.board", "peers.memory"):
        monkeypatch.setattr(f"headrace.{module}.time", found[0])
    for each in found:
        each.attach()
    return found


def sweep(crew: list[Still], seconds: range, *, gone: int = 0) -> None:
    """All but the first ones, a tenth of a second apart."""
    for second in seconds:
        for number in range(gone, len(crew)):
            crew[0].second = second + number / 10
            crew[number].dashboard.sweep()


def test_one_worker_samples_for_all_and_another_when_it_is_gone(crew: list[Still]) -> None:
    sweep(crew, range(61))
    assert [each.samples for each in crew] == [13, 0, 0]
    sweep(crew, range(61, 121), gone=1)
    assert crew[0].samples == 13
    assert 11 <= crew[1].samples + crew[2].samples <= 13
    kept = [[sample.at_s for sample in each.dashboard._history.samples] for each in crew]
    assert kept[1] == kept[2]
    assert kept[1][:13] == kept[0]
    gaps = [after - before for before, after in pairwise(kept[1])]
    assert all(4.8 <= gap <= 6.5 for gap in gaps)
