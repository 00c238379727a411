"""Simulates every kind of run once: prints a line for the build, and leaves a journal and a report of each.

python recorded.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import msgspec

from headrace import __version__
from headrace.cli.build import build_of
from headrace.config import parse_fleet, sample_fleet_text
from headrace.fleet import Down, Fleet, Incident, KvCache, KvPolicy, Preemption, Replicas, Slow, Split
from headrace.metrics import RunFacts
from headrace.policy import PRICES, STATIC, AnyAction, AnyEvent, Policy
from headrace.policy.journal import JournalHeader, encode_entry, encode_header
from headrace.sim import ORACLE, simulate
from headrace.workload import AGENT, AGENT_TASKS, CHAT, CODING, ClassTraffic, Prefix, Request, generate

SECONDS = 150.0
SEED = 3


def usual(fleet: Fleet, load: float = 1.0) -> Iterator[Request]:
    """Traffic of every class of the sample fleet."""
    shapes = {"coding": CODING, "chat": CHAT, "agent": AGENT}
    return generate([ClassTraffic(name, shapes[name], load) for name in fleet.classes], SECONDS, SEED)


def crowded(fleet: Fleet) -> Iterator[Request]:
    """More than the fleet takes: it queues, and turns requests away."""
    return usual(fleet, 30.0)


def sessions(fleet: Fleet) -> Iterator[Request]:
    """Agents in closed loop."""
    return generate([ClassTraffic("agent", AGENT_TASKS, 4.0)], SECONDS, SEED)


def prefixed(fleet: Fleet) -> Iterator[Request]:
    """Prompts that begin alike."""
    draw = Random(SEED)
    for request in usual(fleet):
        first = draw.randrange(20) * 1000
        count = -(-request.input_tokens // 64)
        yield replace(request, prefix=Prefix(64, range(first, first + count)))


@dataclass(frozen=True)
class Case:
    """One run."""

    policy: Policy = PRICES
    traffic: Callable[[Fleet], Iterator[Request]] = usual
    shape: Callable[[Fleet], Fleet] = lambda fleet: fleet
    incidents: tuple[Incident, ...] = ()
    workers: int = 1
    text: Callable[[str], str] = lambda text: text


def served(**ways: object) -> Callable[[Fleet], Fleet]:
    """The fleet with GPUs that serve in some way."""

    def shaped(fleet: Fleet) -> Fleet:
        pool = fleet.pools["h100"]
        changed = replace(pool, deployment=replace(pool.deployment, **ways))  # type: ignore[arg-type]
        return replace(fleet, pools=fleet.pools | {"h100": changed})

    return shaped


def with_limits(text: str) -> str:
    """The fleet file with a priced limit on a pool's KV room."""
    return text.replace("[pools.h100]\n", "[pools.h100]\nmax_kv_fraction = 0.01\n", 1)


def crowd(fleet: Fleet) -> Fleet:
    """Every backend takes two at a time, and few may wait."""
    pools = {
        name: replace(pool, backends=tuple(replace(each, max_in_flight=2) for each in pool.backends))
        for name, pool in fleet.pools.items()
    }
    limits = replace(fleet.limits, queue_depth=20, queue_timeout_s=5.0, first_byte_timeout_s=3.0, breaker_failures=2)
    return replace(fleet, pools=pools, limits=limits)


def many(fleet: Fleet) -> Fleet:
    """Each pool with 24 backends: priced as a table."""
    pools = {
        name: replace(pool, backends=tuple(replace(pool.backends[0], name=f"{name}-{k}") for k in range(24)))
        for name, pool in fleet.pools.items()
    }
    return replace(fleet, pools=pools)


GROW = KvCache(policy=KvPolicy.GROW, prefix_cache=True)
SWAP = replace(GROW, preemption=Preemption.SWAP, swap_bytes=64e9, swap_bytes_per_s=25e9)
FAULTS = (
    Down(backends=("cerebras-1",), from_s=20.0, to_s=60.0),
    Slow(backends=("h100-1",), from_s=10.0, to_s=90.0, factor=4.0),
)
CASES = {
    "usual": Case(),
    "static": Case(STATIC),
    "oracle": Case(ORACLE),
    "crowded": Case(traffic=crowded, shape=crowd),
    "sessions": Case(traffic=sessions),
    "prefixes": Case(traffic=prefixed, shape=served(kv_cache=GROW)),
    "swapped": Case(traffic=prefixed, shape=served(kv_cache=SWAP)),
    "split": Case(shape=served(split=Split(1, 2, 50e9))),
    "replicas": Case(shape=served(replicas=Replicas(1, 3, target_in_flight=4.0, start_s=5.0, interval_s=2.0))),
    "faults": Case(incidents=FAULTS),
    "workers": Case(workers=3),
    "limits": Case(text=with_limits),
    "many": Case(shape=many),
}


def record(folder: Path, name: str, case: Case) -> None:
    """Simulate a case; a journal can be verified where the fleet is as its file says, and one engine decides."""
    text = case.text(sample_fleet_text())
    fleet = case.shape(parse_fleet(text, name))
    header = JournalHeader(1, __version__, SEED, case.policy.name, text)
    with (folder / f"{name}.journal").open("wb") as journal:
        journal.write(encode_header(header))

        def wrote(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
            journal.write(encode_entry(now_s, event, actions))

        result = simulate(
            fleet, case.traffic(fleet), case.policy, SEED, wrote, incidents=case.incidents, workers=case.workers
        )
    facts = RunFacts(name, result.end_s, SEED, result.utilization)
    (folder / f"{name}.json").write_bytes(msgspec.json.encode((result.metrics.finish(facts), result.busy_s)))


if __name__ == "__main__":
    print(build_of())
    for each, what in CASES.items():
        record(Path(sys.argv[1]), each, what)
