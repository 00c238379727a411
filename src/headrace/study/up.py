"""The whole system on one machine: emulated fleet, gateway, and generated traffic through it.

    generated requests --> replay --HTTP--> gateway (policy engine) --HTTP--> emulated backends (a process of their own)

The replay and the gateway share an event loop, so the gateway never rests between rounds of writing. What the traffic
costs is compared with what the engine itself expected of the cheapest backend outside the share's pools, request by
request: the same traffic on those pools alone, at the margin.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from headrace import __version__, rng
from headrace.bench import ReplayProgress, ReplayResult, ReplaySettings, live_metrics
from headrace.bench import replay as run_replay
from headrace.config import load_policy
from headrace.emulate import EmulatorProcess
from headrace.fleet import Fleet
from headrace.gateway import Onlooker, RunningGateway, resumed_periods, start_gateway
from headrace.ledger import UsageLedger
from headrace.ledger.journal import JournalFile
from headrace.policy import AnyAction, AnyEvent, Dispatch, EngineView, PolicyEngine
from headrace.policy.journal import JournalHeader
from headrace.workload import Request


@dataclass(frozen=True, slots=True)
class UpSettings:
    """Where `up` listens and writes. A port of 0 is any free one; `fleet_text` goes into the journal's header."""

    ledger: Path
    port: int = 8080
    admin_port: int = 8081
    journal: Path | None = None
    seed: int = 0
    fleet_text: str = ""


class Money:
    """Expected marginal cost of what was dispatched, and of the same requests outside the steered share's pools."""

    def __init__(self) -> None:
        self.spent_usd = 0.0
        self.outside_usd = 0.0

    def record(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        """Count the dispatches of one call of the engine."""
        for action in actions:
            if isinstance(action, Dispatch):
                self.spent_usd += action.cost_usd
                outside_usd = action.outside_cost_usd
                self.outside_usd += action.cost_usd if outside_usd is None else outside_usd


class UpSystem:
    """A running system.

    Attributes:
        fleet: the fleet as it runs, emulated backends at the addresses that they have.
        metrics: what the traffic saw so far, as a client measures it.
    """

    def __init__(self, fleet: Fleet, engine: PolicyEngine, running: RunningGateway, money: Money) -> None:
        self.fleet = fleet
        self.money = money
        self.metrics = live_metrics(fleet)
        self._engine = engine
        self._running = running

    @property
    def url(self) -> str:
        """Base URL of the gateway, without `/v1`."""
        return f"http://127.0.0.1:{self._running.port}"

    @property
    def admin_url(self) -> str:
        """Where the engine can be looked at."""
        return f"{self.dashboard_url}admin/state"

    @property
    def dashboard_url(self) -> str:
        """The page for people."""
        return f"http://127.0.0.1:{self._running.admin_port}/"

    def view(self) -> EngineView:
        """What the engine sees now."""
        return self._engine.view()

    async def drive(
        self, requests: Iterable[Request], on_progress: Callable[[ReplayProgress], None], stop: asyncio.Event
    ) -> ReplayResult:
        """Send traffic through the gateway until all of it has ended, or `stop` is set."""
        settings = ReplaySettings(model=next(iter(self.fleet.models)), lead_s=0.5)
        return await run_replay(self.url, requests, self.metrics, settings, on_progress=on_progress, stop=stop)


@contextlib.asynccontextmanager
async def running_system(
    fleet: Fleet, settings: UpSettings, onlooker: Onlooker | None = None
) -> AsyncIterator[UpSystem]:
    """Start everything, and stop everything at the end; what is still on its way then is cut off.

    Raises:
        ConfigError: the emulator did not start, or a backend's key or URL cannot be used.
        OSError: a port is taken, or a file cannot be written.
    """
    emulator = EmulatorProcess(fleet, settings.seed)
    try:
        live = with_urls(fleet, emulator.urls)
        engine = PolicyEngine(live, rng.stream(settings.seed, "policy"), load_policy(fleet.policy))
        money = Money()
        with UsageLedger(settings.ledger, fleet.ledger) as ledger, _recorder(settings, fleet.policy, money) as record:
            port, admin_port = settings.port, settings.admin_port
            running = await start_gateway(
                live,
                engine,
                ledger,
                port=port,
                admin_port=admin_port,
                journal=record,
                resumed=resumed_periods(live, settings.ledger, time.time()),
                round_s=0.0,
                onlooker=onlooker,
            )
            try:
                yield UpSystem(live, engine, running, money)
            finally:
                await running.close(drain_timeout_s=0.0)
    finally:
        emulator.stop()


def with_urls(fleet: Fleet, urls: dict[str, str]) -> Fleet:
    """The same fleet with these backends at these URLs."""
    pools = {
        name: replace(pool, backends=tuple(replace(b, url=urls.get(b.name, b.url)) for b in pool.backends))
        for name, pool in fleet.pools.items()
    }
    return replace(fleet, pools=pools)


@contextlib.contextmanager
def _recorder(
    settings: UpSettings, policy: str, money: Money
) -> Iterator[Callable[[float, AnyEvent, list[AnyAction]], None]]:
    """What is told of every call of the engine: the money, and the journal if there is one."""
    if settings.journal is None:
        yield money.record
        return
    header = JournalHeader(1, __version__, settings.seed, policy, settings.fleet_text)
    with JournalFile(settings.journal, header) as journal:

        def both(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
            money.record(now_s, event, actions)
            journal.record(now_s, event, actions)

        yield both
