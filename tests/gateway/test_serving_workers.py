"""Several workers are one gateway: one port, one page of metrics; one that is killed takes only its own requests along.

One story is told of four workers (a start takes seconds of a processor), and looked at by every test.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from served_rig import Served, Stream, StreamingBackend, fleet_text, served, until

from headrace.ledger import AttemptStatus, read_ledger
from headrace.ledger.journal import read_journal
from headrace.policy import PeersReported

WORKERS = 4
STEADY = 24
QUICK = 40
STORY_TIMEOUT_S = 90.0


@dataclass
class Story:
    """What was seen."""

    folder: Path
    streams: list[Stream] = field(default_factory=list)
    quick: list[Stream] = field(default_factory=list)
    before: Any = None
    shared: Any = None
    killed: int = -1
    broken: int = 0
    after: Any = None
    end: Any = None
    counted: dict[str, float] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    ready: list[tuple[int, bytes]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    code: int | None = None


async def quick(port: int, count: int) -> list[Stream]:
    return list(await asyncio.gather(*(Stream().run(port, "quick", 3) for _ in range(count))))


async def all_seen(gateway: Served, live: int) -> bool:
    return bool((await gateway.state())["requests_live"] == live)


async def all_counted(gateway: Served, count: int) -> bool:
    return await gateway.metric("headrace_requests_total") >= count


async def tell(story: Story, gateway: Served, backend: StreamingBackend) -> None:
    story.quick += await quick(gateway.port, QUICK)
    story.streams = [Stream() for _ in range(STEADY)]
    running = [asyncio.ensure_future(each.run(gateway.port)) for each in story.streams]
    await asyncio.gather(*(each.began.wait() for each in story.streams))
    await until(lambda: all_seen(gateway, STEADY))
    await until(lambda: all_counted(gateway, QUICK))
    story.before = await gateway.state()
    story.ready.append(await gateway.get("/health/ready"))
    story.counted["before"] = await gateway.metric("headrace_requests_total")

    victim = max(story.before["workers"], key=lambda each: each["requests_live"])
    story.killed, story.broken = victim["worker"], victim["requests_live"]
    os.kill(victim["pid"], signal.SIGKILL)

    async def back() -> bool:
        workers = (await gateway.state())["workers"]
        return all(each["up"] for each in workers) and workers[story.killed]["pid"] != victim["pid"]

    await until(back)
    await until(lambda: sum(task.done() for task in running) >= story.broken)
    story.after = await gateway.state()
    story.counted["after"] = await gateway.metric("headrace_requests_total")
    story.counted["restarts"] = await gateway.metric("headrace_worker_restarts_total")
    story.quick += await quick(gateway.port, QUICK)
    backend.released.set()
    await asyncio.gather(*running)
    await until(lambda: all_seen(gateway, 0))
    await until(lambda: all_counted(gateway, 2 * QUICK + STEADY - story.broken))
    story.end = await gateway.state()
    story.counted["end"] = await gateway.metric("headrace_requests_total")
    gateway.process.send_signal(signal.SIGTERM)
    story.code = await gateway.process.wait()
    story.said = gateway.said


async def told(folder: Path) -> Story:
    story, backend = Story(folder), StreamingBackend()
    await backend.start()
    fleet = folder / "fleet.toml"
    fleet.write_text(fleet_text({"one": backend.port}, "[peers]\ninterval_s = 0.1\n"))
    try:
        async with served(fleet, "--workers", str(WORKERS), "--journal", str(folder / "journal")) as gateway:
            await asyncio.wait_for(tell(story, gateway, backend), STORY_TIMEOUT_S)
    finally:
        await backend.stop()
    return story


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return asyncio.run(told(tmp_path_factory.mktemp("workers")))


def test_connections_are_dealt_to_all_workers(story: Story) -> None:
    live = [each["requests_live"] for each in story.before["workers"]]
    assert sum(live) == STEADY
    assert sum(count > 0 for count in live) >= 2


def test_metrics_count_every_request_of_every_worker_once_and_never_fall(story: Story) -> None:
    assert story.counted["before"] == QUICK
    assert story.counted["after"] >= story.counted["before"], "a killed worker's counts stay"
    assert story.counted["end"] == 2 * QUICK + STEADY - story.broken
    assert story.counted["restarts"] == 1


def test_a_killed_worker_breaks_its_own_streams_never_politely_and_no_others(story: Story) -> None:
    complete = [each for each in story.streams if each.complete]
    broken = [each for each in story.streams if not each.complete]
    assert len(broken) == story.broken > 0
    assert all(each.tokens > 0 and not each.ended for each in broken)
    assert len(complete) == STEADY - story.broken
    assert all(each.complete for each in story.quick)


def test_the_restarted_worker_is_one_of_them_again(story: Story) -> None:
    workers = story.end["workers"]
    assert [each["restarts"] for each in workers] == [int(each["worker"] == story.killed) for each in workers]
    assert all(each["up"] for each in workers)
    assert any(f"worker {story.killed} was killed by signal 9" in line for line in story.said)


def test_the_ledgers_account_for_all_and_the_killed_workers_requests_are_interrupted(story: Story) -> None:
    ledgers = {path.name: list(read_ledger(path)) for path in (story.folder / "usage").iterdir()}
    assert sorted(ledgers) == [f"worker-{number}.00000001.jsonl" for number in range(WORKERS)]
    statuses = Counter(entry.status for entries in ledgers.values() for entry in entries)
    assert statuses == {
        AttemptStatus.COMPLETED: 2 * QUICK + STEADY - story.broken,
        AttemptStatus.INTERRUPTED: story.broken,
    }
    killed = Counter(entry.status for entry in ledgers[f"worker-{story.killed}.00000001.jsonl"])
    assert killed[AttemptStatus.INTERRUPTED] == story.broken


def test_it_is_ready_and_says_what_is_up(story: Story) -> None:
    status, body = story.ready[0]
    assert status == 200
    assert b'"workers_up":4' in body
    assert b'"one-1":"closed"' in body


def test_engines_heard_of_each_other(story: Story) -> None:
    journals = sorted((story.folder / "journal").iterdir())
    assert len(journals) == WORKERS + 1, "a restarted worker's journal does not replace what led to its end"
    most = 0
    for path in journals:
        _, entries = read_journal(path)
        try:
            for entry in entries:
                if isinstance(entry.event, PeersReported):
                    most = max(most, sum(load.in_flight for load in entry.event.loads))
        except Exception:
            assert path.name == f"worker-{story.killed}.jsonl"
    assert most > 0


def test_it_ends_in_peace(story: Story) -> None:
    assert story.code == 0


def test_a_limit_is_for_all_workers_together(tmp_path: Path) -> None:
    """Eight places, three workers, thirty clients: what is too many is gone after the first moments."""

    async def scenario() -> None:
        backend = StreamingBackend()
        await backend.start()
        fleet = tmp_path / "fleet.toml"
        fleet.write_text(fleet_text({"one": backend.port}, "[peers]\ninterval_s = 0.05\n", max_in_flight=8))
        async with served(fleet, "--workers", "3") as gateway:
            streams = [Stream() for _ in range(30)]
            running = [asyncio.ensure_future(each.run(gateway.port, "quick", 20)) for each in streams]
            await until(lambda: sum(task.done() for task in running) >= 12)
            backend.most = 0
            await asyncio.gather(*running)
            assert all(each.complete for each in streams)
            assert backend.most <= 8 + 2
        await backend.stop()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_fault_at_the_start_is_told_once_and_ends_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        fleet = tmp_path / "fleet.toml"
        fleet.write_text(fleet_text({"one": 1}).replace("max_in_flight = 64", 'api_key_env = "HEADRACE_NO_SUCH_KEY"'))
        with pytest.raises(AssertionError, match="HEADRACE_NO_SUCH_KEY"):
            async with served(fleet, "--workers", "2"):
                pass

    asyncio.run(asyncio.wait_for(scenario(), 60))
