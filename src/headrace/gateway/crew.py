"""The crew: all workers of one gateway, as one of them shows them.

Every worker answers for all of them, on both ports: whoever gets the connection. So each writes what it has to show, a
`Page`, into shared memory (`headrace.peers`) once per sweep, and whoever is asked adds up its own, as it is now, and
those of the others, at most a sweep old.

Counters must never fall, or a rate over them is wrong for a while. So what a worker has counted stays when it is gone,
and its successor goes on counting from there: a killed worker loses the counts of its last sweep, and no more (the
ledger loses none). What is true of a moment (in flight, connections, breakers) is of those who live.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import msgspec

from headrace.gateway.counters import Counters, Counts
from headrace.gateway.families import BREAKER_STATES, counter_families, engine_families
from headrace.gateway.metric_table import family
from headrace.gateway.shelves import Shelf
from headrace.metrics import Metric
from headrace.peers import Peers, SharedRows
from headrace.policy import BackendView, EngineView, LimitView, ShareView
from headrace.telemetry import Family, Row, process_families

MOST_SERIES = 1_000_000  # each worker has bounded its own
SILENT_S = 5.0  # a page is written once per sweep: who has missed so many is not there


class Page(msgspec.Struct, frozen=True):
    """What one worker shows of itself."""

    pid: int
    counts: Counts
    view: EngineView
    connections: int
    requests_live: int
    attempts_live: int
    ledger_fault: str = ""
    peers_fault: str = ""
    fleet_sha256: str = ""
    fleet_faults: tuple[str, ...] = ()
    reloads: int = 0
    refused_reloads: int = 0
    metrics: tuple[Metric, ...] = ()
    loop_lag_s: float = 0.0


class Supervised(msgspec.Struct, frozen=True):
    """What the supervisor says: of each worker, how often it was started again after a crash."""

    pid: int
    restarts: list[int]


@dataclass(frozen=True, slots=True)
class Crew:
    """Where a worker stands among the workers of its gateway.

    Attributes:
        number: of this worker, from 0; `workers`: how many there are.
        pages: a row for each worker's `Page`, and one more for the supervisor's `Supervised`; None: it is alone.
        peers: by which its engine and the others' hear of each other; None: there are none.
        shelf: where answers lie that any of them has stored; None: it is alone.
    """

    number: int = 0
    workers: int = 1
    pages: SharedRows | None = None
    peers: Peers | None = None
    shelf: Shelf | None = None

    def predecessor(self) -> Counts | None:
        """What the worker before this one, in the same place, had counted."""
        page = _page(self.pages, self.number)
        return None if page is None else page[0].counts

    def show(self, page: Page) -> None:
        """Let the others see it."""
        if self.pages is not None:
            self.pages.write(self.number, msgspec.msgpack.encode(page))

    def others(self) -> list[tuple[int, Page, bool]]:
        """The other workers by number, what they last showed, and whether they live."""
        found = []
        for number in range(self.workers):
            read = None if number == self.number else _page(self.pages, number)
            if read is not None:
                found.append((number, read[0], time.monotonic() - read[1] < SILENT_S))
        return found

    def restarts(self) -> list[int]:
        """Restarts of each worker."""
        row = None if self.pages is None else self.pages.read(self.workers)
        return [0] * self.workers if row is None else msgspec.msgpack.decode(row.data, type=Supervised).restarts


class Shown:
    """All workers in one: counters of all, and of the moment those who live."""

    def __init__(self, crew: Crew, own: Page) -> None:
        others = crew.others()
        self.pages = {crew.number: own} | {number: page for number, page, lives in others if lives}
        self.counters = Counters(crew.workers * MOST_SERIES)
        for page in (own, *(page for _, page, _ in others)):
            self.counters.add(page.counts)
        self.restarts = crew.restarts()
        self.workers = crew.workers
        living = list(self.pages.values())
        self.view = own.view if len(living) == 1 else together([page.view for page in living])
        self.connections = sum(page.connections for page in living)
        self.requests_live = sum(page.requests_live for page in living)
        self.attempts_live = sum(page.attempts_live for page in living)
        self.peers_fault = next((page.peers_fault for page in living if page.peers_fault), "")

    def fleet_file(self) -> dict[str, object]:
        """What the workers run, and what is wrong with the file as it is now."""
        living = list(self.pages.values())
        running = sorted({page.fleet_sha256 for page in living})
        return {
            "sha256": running[0] if len(running) == 1 else running,
            "faults": next((page.fleet_faults for page in living if page.fleet_faults), ()),
        }

    def by_worker(self) -> list[dict[str, object]]:
        """Each worker: whether it lives, and what only its own figures tell."""
        return [self._worker(number) for number in range(self.workers)]

    def _worker(self, number: int) -> dict[str, object]:
        page = self.pages.get(number)
        row: dict[str, object] = {"worker": number, "restarts": self.restarts[number], "up": page is not None}
        if page is not None:
            row |= {"pid": page.pid, "requests_live": page.requests_live, "client_connections": page.connections}
            row |= {"ledger": page.ledger_fault or "ok", "peers": page.peers_fault or "heard"}
            row |= {"fleet_sha256": page.fleet_sha256, "reloads": page.reloads}
        return row

    def families(self) -> Iterator[Family]:
        """All metrics but those of what is set."""
        yield from counter_families(self.counters)
        yield from engine_families(self.view)
        yield from self._workers()
        living = self.pages.values()
        for name in {metric.name: None for page in living for metric in page.metrics}:
            same = [metric for page in living for metric in page.metrics if metric.name == name]
            yield Family(name, same[0].kind, same[0].text, [((), sum(metric.value for metric in same))])
        yield from process_families({str(number): page.pid for number, page in sorted(self.pages.items())})

    def _workers(self) -> Iterator[Family]:
        living = list(self.pages.values())
        restarts: list[Row] = [((("worker", str(k)),), n) for k, n in enumerate(self.restarts)]
        lags: list[Row] = [((("worker", str(k)),), page.loop_lag_s) for k, page in sorted(self.pages.items())]
        yield family("headrace_worker_restarts_total", restarts)
        yield family("headrace_event_loop_lag_seconds", lags)
        for name, value in (
            ("headrace_workers", len(living)),
            ("headrace_workers_expected", self.workers),
            ("headrace_client_connections", self.connections),
            ("headrace_ledger_unwritable", sum(bool(page.ledger_fault) for page in living)),
            ("headrace_peers_unheard", sum(bool(page.peers_fault) for page in living)),
            ("headrace_fleet_reloads_total", sum(page.reloads for page in living)),
            ("headrace_fleet_reloads_refused_total", sum(page.refused_reloads for page in living)),
        ):
            yield family(name, [((), value)])


def together(views: Sequence[EngineView]) -> EngineView:
    """Several engines' views as one: what adds up is added, what is learnt is the mean, of breakers the worst is shown.

    `max_in_flight` is what they may have in flight together as things stand.
    """
    backends: dict[str, list[BackendView]] = {}
    shares: dict[str, list[ShareView]] = {}
    limits: dict[str, list[LimitView]] = {}
    for view in views:
        for backend in view.backends:
            backends.setdefault(backend.name, []).append(backend)
        for share in view.shares:
            shares.setdefault(share.name, []).append(share)
        for limit in view.limits:
            limits.setdefault(limit.name, []).append(limit)
    return msgspec.structs.replace(
        views[0],
        requests_live=sum(view.requests_live for view in views),
        queued=sum(view.queued for view in views),
        retries_left=sum(view.retries_left for view in views),
        backends=[_backend(each) for each in backends.values()],
        shares=[_share(each) for each in shares.values()],
        limits=[_limit(each) for each in limits.values()],
    )


def _backend(views: Sequence[BackendView]) -> BackendView:
    return msgspec.structs.replace(
        views[0],
        breaker=max((each.breaker for each in views), key=BREAKER_STATES.index),
        drained=all(each.drained for each in views),
        in_flight=sum(each.in_flight for each in views),
        max_in_flight=sum(each.max_in_flight for each in views),
        expected_kv_tokens=sum(each.expected_kv_tokens for each in views),
        prefill_backlog_s=sum(each.prefill_backlog_s for each in views),
        ttft_factor=fmean(each.ttft_factor for each in views),
        tpot_factor=fmean(each.tpot_factor for each in views),
        failure_rate=fmean(each.failure_rate for each in views),
        hit_factor=fmean(each.hit_factor for each in views),
    )


def _share(views: Sequence[ShareView]) -> ShareView:
    work = sum(each.work for each in views)
    inside = sum(each.work * each.realized for each in views if each.realized is not None)
    levels = [each.level_usd_per_unit for each in views if each.level_usd_per_unit is not None]
    return msgspec.structs.replace(
        views[0],
        realized=inside / work if work > 0.0 else None,
        lambda_usd_per_unit=fmean(each.lambda_usd_per_unit for each in views),
        level_usd_per_unit=fmean(levels) if levels else None,
        debt=_sum(each.debt for each in views),
        debt_low=_sum(each.debt_low for each in views),
        debt_high=_sum(each.debt_high for each in views),
        work=work,
    )


def _limit(views: Sequence[LimitView]) -> LimitView:
    """Of an amount per period each knows what all used, so the last to hear knows most; the rest is each one's own."""
    paced = views[0].pace is not None
    use = max(each.use for each in views) if paced else fmean(each.use for each in views)
    return msgspec.structs.replace(
        views[0], use=use, lambda_usd_per_unit=fmean(each.lambda_usd_per_unit for each in views)
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _page(pages: SharedRows | None, number: int) -> tuple[Page, float] | None:
    row = None if pages is None else pages.read(number)
    return None if row is None else (msgspec.msgpack.decode(row.data, type=Page), row.written_s)
