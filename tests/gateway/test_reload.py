"""The fleet file is read again while streams run: all of it or nothing, and nobody's stream notices."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from served_rig import Served, Stream, StreamingBackend, fleet_text, served, until

from headrace.ledger import AttemptStatus, read_ledger

RELOADS = 20
TIMEOUT_S = 90.0


class Rig:
    """Backends `one`, `two` and `three`, and a fleet file that names some of them."""

    def __init__(self, folder: Path) -> None:
        self.fleet = folder / "fleet.toml"
        self.backends = {name: StreamingBackend() for name in ("one", "two", "three")}

    async def start(self) -> None:
        for backend in self.backends.values():
            await backend.start()

    async def stop(self) -> None:
        for backend in self.backends.values():
            await backend.stop()

    def write(self, *names: str, more: str = "") -> None:
        """As an editor does: the file is replaced, not written over."""
        text = fleet_text({name: self.backends[name].port for name in names}, more)
        written = self.fleet.with_suffix(".new")
        written.write_text(text)
        written.replace(self.fleet)


async def reloads(gateway: Served) -> int:
    return int(await gateway.metric("headrace_fleet_reloads_total"))


def run(folder: Path, scenario: object, *arguments: str) -> None:
    async def main() -> None:
        rig = Rig(folder)
        await rig.start()
        rig.write("one")
        try:
            async with served(rig.fleet, *arguments) as gateway:
                await asyncio.wait_for(scenario(rig, gateway), TIMEOUT_S)  # type: ignore[operator]
        finally:
            await rig.stop()

    asyncio.run(main())


def test_twenty_reloads_under_load_end_every_request_once_with_its_text_whole(tmp_path: Path) -> None:
    streams: list[Stream] = []

    async def scenario(rig: Rig, gateway: Served) -> None:
        steady = [Stream() for _ in range(6)]
        running = [asyncio.ensure_future(each.run(gateway.port)) for each in steady]
        await asyncio.gather(*(each.began.wait() for each in steady))
        done = asyncio.Event()

        async def load() -> None:
            while not done.is_set():
                streams.append(await Stream().run(gateway.port, "quick", 12))

        loads = [asyncio.ensure_future(load()) for _ in range(6)]
        choices = (("one", "two"), ("two",), ("two", "three"), ("three", "one"), ("one",))
        for k in range(RELOADS):
            rig.write(*choices[k % len(choices)], more=f"[limits]\nqueue_depth = {1000 + k}\n")
            gateway.process.send_signal(signal.SIGHUP)
            await until(lambda k=k: at_least(gateway, k + 1))
        done.set()
        await asyncio.gather(*loads)
        for backend in rig.backends.values():
            backend.released.set()
        await asyncio.gather(*running)
        assert all(each.complete and each.tokens > 12 for each in steady)
        assert all(each.complete and each.tokens == 12 for each in streams)
        assert await gateway.metric("headrace_requests_total") == len(steady) + len(streams)
        state = await gateway.state()
        assert state["requests_live"] == state["attempts_live"] == 0
        assert [b["name"] for b in state["engine"]["backends"]] == ["one-1"]
        assert await gateway.metric("headrace_limit") > 0

    async def at_least(gateway: Served, count: int) -> bool:
        return await reloads(gateway) >= count

    journal = tmp_path / "journal.jsonl"
    run(tmp_path, scenario, "--journal", str(journal))
    statuses = Counter(entry.status for entry in read_ledger(tmp_path / "usage"))
    assert statuses == {AttemptStatus.COMPLETED: 6 + len(streams)}
    verified = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "journal", "verify", str(journal), "--json", "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(verified.stdout)["identical"], verified.stderr


def test_a_file_with_faults_changes_nothing_and_says_all_of_them(tmp_path: Path) -> None:
    async def scenario(rig: Rig, gateway: Served) -> None:
        rig.write("one", more="[limits]\nqueue_depth = -1\nno_such_limit = 2\n")
        await until(lambda: faults(gateway))
        state = await gateway.state()
        said = " ".join(state["fleet"]["faults"])
        assert "queue_depth" in said
        assert "no_such_limit" in said
        assert await gateway.metric("headrace_fleet_reloads_refused_total") == 1
        assert (await Stream().run(gateway.port, "quick", 3)).complete
        assert sum("not taken on" in line for line in gateway.said) == 1
        rig.write("one", "two")  # without a signal: it is looked at every second
        await until(lambda: reloads(gateway))
        state = await gateway.state()
        assert state["fleet"]["faults"] == []
        assert [b["name"] for b in state["engine"]["backends"]] == ["one-1", "two-1"]

    async def faults(gateway: Served) -> bool:
        return bool((await gateway.state())["fleet"]["faults"])

    run(tmp_path, scenario)


def test_all_workers_take_on_the_file(tmp_path: Path) -> None:
    async def scenario(rig: Rig, gateway: Served) -> None:
        rig.write("one", "three")
        gateway.process.send_signal(signal.SIGHUP)
        await until(lambda: all_have(gateway))
        assert (await Stream().run(gateway.port, "quick", 3)).complete

    async def all_have(gateway: Served) -> bool:
        state = await gateway.state()
        return all(each["reloads"] == 1 for each in state["workers"]) and isinstance(state["fleet"]["sha256"], str)

    run(tmp_path, scenario, "--workers", "2")


def test_a_worker_that_crashes_over_a_broken_file_goes_on_with_the_last_good_one(tmp_path: Path) -> None:
    async def scenario(rig: Rig, gateway: Served) -> None:
        pid = (await gateway.state())["workers"][0]["pid"]
        rig.fleet.write_text("this is no fleet file")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: again(gateway, pid))
        streams = await asyncio.gather(*(Stream().run(gateway.port, "quick", 3) for _ in range(8)))
        assert all(each.complete for each in streams)

    async def again(gateway: Served, pid: int) -> bool:
        first = (await gateway.state())["workers"][0]
        return first["up"] and first["pid"] != pid

    run(tmp_path, scenario, "--workers", "2")


@pytest.mark.parametrize("delay_s", [0.5])
def test_draining_says_that_it_is_not_ready_before_the_port_closes(tmp_path: Path, delay_s: float) -> None:
    async def scenario(rig: Rig, gateway: Served) -> None:
        assert (await gateway.get("/health/ready"))[0] == 200
        rig.write("one", more=f"[limits]\ndrain_delay_s = {delay_s}\n")
        await until(lambda: reloads(gateway))
        stream = Stream()
        running = asyncio.ensure_future(stream.run(gateway.port))
        await stream.began.wait()
        gateway.process.send_signal(signal.SIGTERM)
        await until(lambda: unready(gateway))
        late = Stream()
        assert (await late.run(gateway.port, "quick", 2)).complete, "it accepts for a while yet"
        rig.backends["one"].released.set()
        await running
        assert stream.complete
        assert await gateway.process.wait() == 0

    async def unready(gateway: Served) -> bool:
        status, body = await gateway.get("/health/ready")
        return status == 503 and b"draining" in body

    run(tmp_path, scenario)
