"""Gateways hear each other through a real Redis server, carry on without it, and find it again."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.config import load_fleet
from headrace.errors import ConfigError
from headrace.fleet import Fleet, Peers
from headrace.metrics import ShareMeter
from headrace.peers import RedisPeers, decode_report, encode_report
from headrace.policy import AnyAction, PeerLoad, PeersReported, summed
from headrace.sim import Workers, simulate
from headrace.sim import run as sim_run
from headrace.workload import CHAT, CODING, ClassTraffic, generate

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
ENGINES = 4
SECONDS = 900.0
needs_server = pytest.mark.skipif(SERVER is None, reason="no redis-server or valkey-server on this machine")


class RedisServer:
    """A server on a socket in a folder, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = folder

    def start(self) -> None:
        given = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([str(SERVER), *given], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        while b"eady to accept connections" not in self._process.stdout.readline():
            assert self._process.poll() is None

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def settings(self, **given: float) -> Peers:
        return Peers(redis=f"unix://{self.socket}", fleet_name="test", **given)  # type: ignore[arg-type]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path)
    made.start()
    yield made
    made.stop()


def peer(settings: Peers, name: str, said: list[str] | None = None, ours: str = "") -> RedisPeers:
    return RedisPeers(settings, name, {}, tell=(said if said is not None else []).append, ours=ours)


def report(count: int) -> bytes:
    return encode_report(PeersReported(0.0, 1, (PeerLoad("b", count),)))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@needs_server
def test_engines_hear_each_other_and_no_more_who_has_left(server: RedisServer) -> None:
    async def story() -> None:
        settings = server.settings()
        one, two, near = peer(settings, "g1/0", ours="g1/"), peer(settings, "g2/0"), peer(settings, "g1/1", ours="g1/")
        for _ in range(2):
            for count, each in enumerate((one, two, near)):
                await each.once(report(count))
        await one.once(report(0))
        assert [(h.name, decode_report(h.data).loads[0].in_flight) for h in one.heard()] == [("g2/0", 1)]
        assert [h.name for h in two.heard()] == ["g1/0"]
        await two.once(report(1))
        assert sorted(h.name for h in two.heard()) == ["g1/0", "g1/1"]
        await two.close()
        await one.once(report(0))
        assert one.heard() == []
        await one.close()
        await near.close()

    asyncio.run(asyncio.wait_for(story(), 30))


@needs_server
def test_a_report_that_stands_still_grows_old(server: RedisServer) -> None:
    async def story() -> None:
        settings = server.settings()
        one, two = peer(settings, "a"), peer(settings, "b")
        await two.once(report(1))
        await one.once(report(0))
        await one.once(report(0))
        first = one.heard()[0].as_of_s
        await one.once(report(0))
        assert one.heard()[0].as_of_s == first
        await two.once(report(1))
        await one.once(report(0))
        assert one.heard()[0].as_of_s > first
        await one.close()
        await two.close()

    asyncio.run(asyncio.wait_for(story(), 30))


@needs_server
def test_without_the_server_it_says_so_once_and_finds_it_again(server: RedisServer) -> None:
    async def story() -> None:
        said: list[str] = []
        settings = server.settings(interval_s=0.02, dead_after_s=0.4)
        one, two = peer(settings, "a", said), peer(settings, "b")

        async def hears() -> list[str]:
            await two.exchange(report(2))
            return [each.name for each in await one.exchange(report(1))]

        while await hears() != ["b"]:
            await asyncio.sleep(0.01)
        server.stop()
        await until(lambda: bool(one.fault))
        while await hears():
            await asyncio.sleep(0.01)
        server.start()
        await until(lambda: not one.fault)
        while await hears() != ["b"]:
            await asyncio.sleep(0.01)
        assert len(said) == 2
        assert "cannot be heard" in said[0]
        assert "again" in said[1]
        await one.close()
        await two.close()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_password_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigError, match="set NO_SUCH_PASSWORD"):
        RedisPeers(Peers(redis="redis://h", password_env="NO_SUCH_PASSWORD"), "a", {}, tell=print)


class _ThroughRedis(Workers):
    """Engines in virtual time that tell each other through a real server, as long as it is there."""

    server: RedisServer
    lost_at_s = float("inf")
    exchanges = 0

    def _exchange(self, now_s: float) -> list[AnyAction]:
        if not hasattr(self, "loop"):
            self.loop = asyncio.new_event_loop()
            settings = self.server.settings()
            self.peers = [peer(settings, f"g{number}/0") for number in range(len(self.engines))]
        if now_s >= self.lost_at_s:
            return []
        actions: list[AnyAction] = []
        for worker, engine in enumerate(self.engines):
            self.loop.run_until_complete(self.peers[worker].once(encode_report(engine.report())))
            heard = [decode_report(each.data) for each in self.peers[worker].heard()]
            type(self).exchanges += len(heard)
            actions += self._ask(now_s, worker, summed(now_s, heard))
        return actions


def share(fleet: Fleet, seed: int) -> ShareMeter:
    classes = [ClassTraffic("coding", CODING, 1.5), ClassTraffic("chat", CHAT, 1.5)]
    result = simulate(fleet, generate(classes, SECONDS, seed), seed=seed, workers=ENGINES)
    meter = result.metrics.shares["fast"]
    meter.close(result.last_arrival_s)
    return meter


@needs_server
@pytest.mark.parametrize(("lost_at_s", "bound_pp"), [(float("inf"), 0.5), (SECONDS / 3, 1.0)])
def test_the_share_of_four_gateways_holds_through_the_server_and_without_it(
    server: RedisServer, examples_dir: Path, monkeypatch: pytest.MonkeyPatch, lost_at_s: float, bound_pp: float
) -> None:
    monkeypatch.setattr(_ThroughRedis, "server", server, raising=False)
    monkeypatch.setattr(_ThroughRedis, "lost_at_s", lost_at_s)
    monkeypatch.setattr(_ThroughRedis, "exchanges", 0)
    monkeypatch.setattr(sim_run, "Workers", _ThroughRedis)
    fleet = replace(load_fleet(examples_dir / "azure-acceptance.toml"), peers=Peers(interval_s=1.0))
    meter = share(fleet, seed=3)
    assert _ThroughRedis.exchanges > 500
    assert meter.judged == meter.feasible > 50
    assert meter.worst_error_pp is not None
    assert meter.worst_error_pp <= bound_pp
