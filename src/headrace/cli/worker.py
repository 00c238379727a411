"""One gateway process: alone, or as one of several workers (`python -m headrace.cli.worker SETTINGS`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from headrace import __version__, rng
from headrace.cli.output import explained
from headrace.cli.running import stopped_by_signals
from headrace.cli.shipping import shipped
from headrace.config import SAMPLE, load_policy, parse_fleet, read_text, sample_fleet_text
from headrace.dashboard import Dashboard, Place
from headrace.errors import ConfigError
from headrace.fleet import Fleet
from headrace.gateway import (
    LOOPBACK,
    Crew,
    Entrance,
    FleetFile,
    Front,
    RunningGateway,
    SharedShelf,
    kept_faults,
    open_entrance,
    resume_accounts,
    resumed_periods,
    start_gateway,
)
from headrace.ledger import UsageLedger, ledger_writers, read_ledger, recover
from headrace.ledger.journal import JournalFile
from headrace.ledger.places import journal_of, writer_of
from headrace.peers import BothPeers, MemoryPeers, Peers, RedisPeers, SharedRows
from headrace.policy import Generations, PeriodResumed, Policy, PolicyEngine
from headrace.policy.journal import JournalHeader
from headrace.telemetry import set_up_logs, tell

REPORTS = "reports"
PAGES = "pages"
SHELF = "responses"
TAKEN_ON = "fleet.toml"
REPORT_BYTES = 4 * 1024 * 1024  # of address space: what is not written takes no memory
PAGE_BYTES = 16 * 1024 * 1024


class WorkerSettings(msgspec.Struct, frozen=True):
    """What a worker is told.

    Attributes:
        ledger, journal: a file; of several workers, the directory in which each has one.
        number: of this worker, from 0; restarts: how often it was started again after a crash.
        shared: directory that the workers share in memory; None: this one is alone.
        gateway: name of the gateway among others, the same for all its workers; empty: any.
        host, admin_host: addresses of the two ports.
    """

    fleet: str | None
    port: int
    admin_port: int
    ledger: str
    journal: str | None = None
    policy: str | None = None
    seed: int = 0
    number: int = 0
    workers: int = 1
    restarts: int = 0
    shared: str | None = None
    gateway: str = ""
    host: str = LOOPBACK
    admin_host: str = LOOPBACK


Announce = Callable[[RunningGateway], None]


def run_worker(
    settings: WorkerSettings, text: str, fleet: Fleet, announce: Announce, front: Front | None = None
) -> None:
    """Serve until a signal, or until the supervisor is gone.

    Args:
        text: of the fleet file.
        announce: told of the gateway when it listens.
        front: by which clients come; None: HTTP.

    Raises:
        ConfigError: the fleet, the ledger or the journal cannot be used.
    """
    uvloop.run(_serve(settings, text, fleet, announce, front))


async def _serve(settings: WorkerSettings, text: str, fleet: Fleet, announce: Announce, front: Front | None) -> None:
    set_up_logs(fleet.telemetry.log_format)
    stop = stopped_by_signals()
    if settings.shared is not None:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)  # nothing is ever sent: it ended
    chosen = load_policy(settings.policy or fleet.policy)
    file = _fleet_file(settings, text, fleet)
    entrance = _entrance(settings, fleet)
    seed = settings.seed + settings.number
    header = JournalHeader(1, __version__, seed, chosen.name, text)
    engine = PolicyEngine(fleet, rng.stream(seed, "policy"), chosen)
    with contextlib.ExitStack() as stack:
        alone = settings.shared is None  # else the supervisor ships what all of them write
        shipper = stack.enter_context(shipped(settings.ledger, fleet.ledger)) if alone else None  # ends last
        books = stack.enter_context(UsageLedger(settings.ledger, fleet.ledger, writer=_writer(settings)))
        _take_over(settings)
        journal = _journal_of(settings)
        record = None if journal is None else stack.enter_context(JournalFile(journal, header)).record
        resume_accounts(entrance, fleet, partial(read_ledger, settings.ledger))
        running = await start_gateway(
            fleet,
            engine if file is None else Generations(engine, file.read),
            books,
            host=settings.host,
            port=settings.port,
            admin_port=settings.admin_port,
            onlooker=Dashboard(_place(settings)),
            journal=record,
            resumed=_resumed(settings, fleet),
            crew=crew_of(settings, fleet),
            fleet_file=file,
            resumed_of=partial(_resumed, settings),
            front=front,
            entrance=entrance,
        )
        if shipper is not None:
            running.gateway.telemetry.sources.append(shipper.metrics)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, running.reload)
        announce(running)
        await stop.wait()
        await running.close()


def crew_of(settings: WorkerSettings, fleet: Fleet) -> Crew:
    """The workers that this one is one of."""
    number, workers = settings.number, settings.workers
    gateway = settings.gateway or os.urandom(8).hex()
    far: Peers | None = None
    if fleet.peers.redis is not None:
        ours = f"{gateway}/" if settings.shared is not None else ""
        far = RedisPeers(fleet.peers, f"{gateway}/{number}", os.environ, tell=tell, ours=ours)
    if settings.shared is None:
        return Crew(peers=far)
    reports = SharedRows(Path(settings.shared) / REPORTS, workers, REPORT_BYTES)
    near = MemoryPeers(reports, number, fleet.peers.dead_after_s)
    peers = near if far is None else BothPeers(near, far)
    shelf = SharedShelf(Path(settings.shared) / SHELF, number, workers)
    return Crew(number, workers, shared_pages(Path(settings.shared), workers), peers, shelf)


def _place(settings: WorkerSettings) -> Place:
    """Where the dashboards of all workers tell each other what they see."""
    shared = None if settings.shared is None else Path(settings.shared)
    return Place(settings.number, settings.workers, shared)


def shared_pages(directory: Path, workers: int) -> SharedRows:
    """A row for each worker's page, and the supervisor's."""
    return SharedRows(directory / PAGES, workers + 1, PAGE_BYTES)


def read_fleet(settings: WorkerSettings) -> tuple[str, Fleet]:
    """The fleet file, or what was last taken on of it, where a restart finds it broken.

    Raises:
        ConfigError: it has faults, and nothing was taken on before.
    """
    if settings.fleet is None:
        text = sample_fleet_text()
        return text, parse_fleet(text, SAMPLE)
    path = Path(settings.fleet)
    try:
        text = read_text(path)
        return text, parse_fleet(text, str(path), path.parent)
    except ConfigError as error:
        kept = None if settings.shared is None else Path(settings.shared) / TAKEN_ON
        if kept is None or not kept.exists():
            raise
        tell(f"{error}; it goes on with the fleet that was taken on before")
        return kept.read_text(), parse_fleet(kept.read_text(), str(path), path.parent)


def _entrance(settings: WorkerSettings, fleet: Fleet) -> Entrance:
    shared = None if settings.shared is None else Path(settings.shared)
    return open_entrance(
        fleet, shared=shared, workers=settings.workers, number=settings.number, admin_host=settings.admin_host
    )


def _fleet_file(settings: WorkerSettings, text: str, running: Fleet) -> FleetFile | None:
    """The file that is looked at while this worker runs; the sample fleet has none."""
    if settings.fleet is None:
        return None
    path = Path(settings.fleet)

    def check(text: str) -> tuple[Fleet, Policy]:
        fleet = parse_fleet(text, str(path), path.parent)
        faults = tuple(kept_faults(running, fleet))
        if faults:
            raise ConfigError(str(path), faults)
        return fleet, load_policy(settings.policy or fleet.policy)

    def keep(text: str) -> None:
        if settings.shared is not None:
            written = Path(settings.shared) / f"{TAKEN_ON}.{settings.number}"
            written.write_text(text, encoding="utf-8")
            written.replace(Path(settings.shared) / TAKEN_ON)

    keep(text)
    return FleetFile(path, text, check, keep)


def _writer(settings: WorkerSettings) -> str | None:
    return None if settings.workers == 1 else writer_of(settings.number)


def _journal_of(settings: WorkerSettings) -> Path | None:
    if settings.journal is None or settings.workers == 1:
        return None if settings.journal is None else Path(settings.journal)
    return journal_of(Path(settings.journal), settings.number, settings.restarts)


def _take_over(settings: WorkerSettings) -> None:
    """Close what workers left open that there were once and are no more: nobody else goes on with their files."""
    for writer in _left_behind(settings):
        recover(settings.ledger, writer)


def _left_behind(settings: WorkerSettings) -> list[str]:
    """The first worker takes on the ledgers of those who are no more."""
    if settings.workers == 1 or settings.number or not Path(settings.ledger).is_dir():
        return []
    known = {writer_of(number) for number in range(settings.workers)}
    return [writer for writer in ledger_writers(settings.ledger) if writer not in known]


def _resumed(settings: WorkerSettings, fleet: Fleet) -> list[PeriodResumed]:
    """Where the periods stand by what this worker wrote, and those whose ledgers it takes on."""
    now_unix_s, found = time.time(), dict[str, PeriodResumed]()
    for writer in (_writer(settings), *_left_behind(settings)):
        for event in resumed_periods(fleet, settings.ledger, now_unix_s, writer):
            before = found.get(event.limit)
            used = event.used + (0.0 if before is None else before.used)
            found[event.limit] = msgspec.structs.replace(event, used=used)
    return list(found.values())


def _say_ready(running: RunningGateway) -> None:
    """To the supervisor, which waits for it."""
    print(f"ready {running.port} {running.admin_port}", flush=True)


def main() -> None:
    """One of several workers. Exits with 2 for what the user can mend."""
    settings = msgspec.json.decode(sys.argv[1], type=WorkerSettings)
    with explained():
        run_worker(settings, *read_fleet(settings), _say_ready)


if __name__ == "__main__":
    main()
