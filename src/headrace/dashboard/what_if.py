"""What if: the last hour's requests again, at another target of a share, beside what really happened.

Three columns from the same requests, measured by the same `metrics.RunMetrics`: *real* as the gateway's calls tell it,
*same* simulated at the present target, and *other* simulated at the one asked for. The difference between real and same
is the simulator's error on this traffic, and it stands beside the answer; that between same and other is the answer.

The requests are those that have ended and whose output the backends counted: of them the newest, as many as can be run
while somebody waits, which a first run of a few of them tells. They come when they came (no sessions), and no prompt is
taken to begin like another: the ring keeps no prefixes.

Run as a process: `python -m headrace.dashboard.what_if`, the wish, the fleet and the calls on stdin, JSON on stdout.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import msgspec

from headrace.config import load_policy
from headrace.cost import period_rates, share_rates
from headrace.dashboard.asking import Asked
from headrace.dashboard.facts import FleetFacts
from headrace.dashboard.fold import Fold
from headrace.dashboard.seen import Seen
from headrace.fleet import Fleet
from headrace.metrics import AttemptRecord, RequestRecord, RunMetrics
from headrace.policy.journal import decode_entries
from headrace.sim import simulate
from headrace.units import SECONDS_PER_HOUR
from headrace.workload import Request

LAST_S: Final = SECONDS_PER_HOUR
MOST_REQUESTS: Final = 4000
TRIED_REQUESTS: Final = 250
ANSWER_S: Final = 3.0  # for all of it; the process takes about one more to start
RUNS: Final = 2.3  # two, and what becomes of them
NICE: Final = 10


class Column(msgspec.Struct):
    """What became of the requests. usd_per_h: marginal; value_usd_per_h: of that and of the waiting, J per hour."""

    name: str
    target: float
    realized: float | None
    usd_per_h: float
    j_usd_per_h: float
    classes: dict[str, ClassColumn]
    pools: dict[str, int]


class ClassColumn(msgspec.Struct):
    """One class: attainment of its SLO, and quantiles in seconds of `count` requests."""

    count: int
    attainment: float | None
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    e2e_p50_s: float | None
    e2e_p99_s: float | None


class Answer(msgspec.Struct):
    """The three columns. requests: that were run again, of those in the last hour's calls; span_s: from the first to
    the last; took_s: all of it.
    """

    share: str
    requests: int
    of: int
    span_s: float
    took_s: float
    columns: list[Column]


def answer(asked: Asked, fleet: Fleet, workers: list[tuple[float, bytes]], within_s: float = ANSWER_S) -> Answer:
    """Read the calls, and run the requests again: the newest, as many as fit into the time, a few at least."""
    began_s = time.perf_counter()
    found = sorted(_ended(fleet, workers), key=lambda seen: seen.arrived_unix_s)
    recent = [seen for seen in found if seen.arrived_unix_s >= found[-1].arrived_unix_s - LAST_S]
    if not recent:
        return Answer(asked.share, 0, 0, 0.0, time.perf_counter() - began_s, [])
    run = _as_many_as_fit(fleet, recent, began_s + within_s)
    zero = run[0].arrived_unix_s
    span_s = max(run[-1].arrived_unix_s - zero, 1.0)
    there = fleet.shares[asked.share].target
    columns = [_column("real", fleet, asked.share, _real(fleet, run, zero), span_s)]
    for name, target in (("same", there), ("other", asked.target)):
        other = with_target(fleet, asked.share, target)
        columns.append(_column(name, other, asked.share, _simulated(other, run), span_s))
    return Answer(asked.share, len(run), len(recent), span_s, time.perf_counter() - began_s, columns)


def _as_many_as_fit(fleet: Fleet, recent: list[Seen], until_s: float) -> list[Seen]:
    """The newest requests, as many as can be run twice by then at the pace of a few of them."""
    tried = recent[-TRIED_REQUESTS:]
    began_s = time.perf_counter()
    _simulated(fleet, tried)
    now_s = time.perf_counter()
    fit = min(MOST_REQUESTS, len(tried) * (until_s - now_s) / (RUNS * max(now_s - began_s, 1e-6)))
    return recent[-max(len(tried), int(fit)) :]


def _simulated(fleet: Fleet, run: list[Seen]) -> RunMetrics:
    return simulate(fleet, _requests(run, run[0].arrived_unix_s), load_policy(fleet.policy)).metrics


def with_target(fleet: Fleet, share: str, target: float) -> Fleet:
    """The same fleet with another target of a share."""
    return replace(fleet, shares=fleet.shares | {share: replace(fleet.shares[share], target=target)})


def _ended(fleet: Fleet, workers: list[tuple[float, bytes]]) -> Iterator[Seen]:
    """Requests with a known output."""
    for zero_unix_s, calls in workers:
        ended: list[Seen] = []
        fold = Fold(FleetFacts(fleet), "", zero_unix_s, ended=ended)
        fold.add((entry.now_s, entry.event, entry.actions) for entry in decode_entries(calls.splitlines()))
        yield from (each for each in ended if each.workload_class in fleet.classes and _output(each))


def _output(seen: Seen) -> int:
    return sum(each.output_tokens or 0 for each in seen.attempts)


def _input(seen: Seen) -> int:
    counted = [each.input_tokens for each in seen.attempts if each.input_tokens]
    return counted[0] if counted else seen.input_tokens


def _requests(run: list[Seen], zero: float) -> Iterator[Request]:
    for seen in run:
        yield Request(
            seen.arrived_unix_s - zero,
            seen.workload_class,
            max(_input(seen), 1),
            _output(seen),
            seen.model,
            seen.tenant,
            seen.max_output_tokens,
        )


def _real(fleet: Fleet, run: list[Seen], zero: float) -> RunMetrics:
    """What happened, as a run is measured."""
    rates = {share.name: share_rates(fleet, share) for share in fleet.shares.values()}
    metrics = RunMetrics(fleet, rates, period_rates=period_rates(fleet))
    facts = FleetFacts(fleet)
    for seen in run:
        for each in seen.attempts:
            if each.pool in fleet.pools and each.ended_unix_s is not None:
                used = (each.input_tokens or 0, each.output_tokens or 0)
                usd = facts.usd(each.pool, *used, each.cached_input_tokens)
                times = (each.dispatched_unix_s - zero, each.ended_unix_s - zero)
                metrics.attempt(AttemptRecord(each.pool, *times, *used, usd, (each.pool,), each.cached_input_tokens))
        latencies = (seen.ttft_s, seen.tpot_s, seen.e2e_s)
        arrived_s = seen.arrived_unix_s - zero
        sizes = (_input(seen), _output(seen))
        metrics.request(RequestRecord(seen.workload_class, seen.status, arrived_s, *sizes, *latencies, seen.usd))
    return metrics


def _column(name: str, fleet: Fleet, share: str, metrics: RunMetrics, span_s: float) -> Column:
    per_hour = SECONDS_PER_HOUR / span_s
    return Column(
        name,
        fleet.shares[share].target,
        metrics.shares[share].realized,
        sum(totals.cost_usd for totals in metrics.classes.values()) * per_hour,
        metrics.j_usd * per_hour,
        {each: _class(metrics, each) for each in fleet.classes},
        {pool: totals.requests for pool, totals in metrics.pools.items()},
    )


def _class(metrics: RunMetrics, name: str) -> ClassColumn:
    totals = metrics.classes[name]
    judged = totals.arrived - totals.outcomes["cancelled"]
    return ClassColumn(
        totals.arrived,
        totals.met / judged if judged else None,
        totals.ttft.quantile(0.5),
        totals.ttft.quantile(0.99),
        totals.e2e.quantile(0.5),
        totals.e2e.quantile(0.99),
    )


def main() -> None:
    """Answer the wish on stdin."""
    os.nice(NICE)
    said = sys.stdin.buffer
    asked, fleet = pickle.loads(said.read(int(said.readline())))
    workers = [(zero, said.read(length)) for zero, length in asked.workers]
    sys.stdout.buffer.write(msgspec.json.encode(answer(asked, fleet, workers)))


if __name__ == "__main__":
    main()
