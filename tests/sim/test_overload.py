"""A fleet that is asked for more than it can serve: it serves what is worth most, and tells the others when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from heapq import merge
from itertools import islice
from math import inf
from pathlib import Path

from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.metrics import RunMetrics
from headrace.policy import AnyAction, AnyEvent, Reject
from headrace.sim import simulate
from headrace.workload import CHAT, CODING, ClassTraffic, Request, generate

SMALL = load_fleet(Path(__file__).parents[2] / "examples" / "small.toml")
LENGTHS = {"coding": replace(CODING, arrivals=CHAT.arrivals), "chat": CHAT}


def a_fifth() -> Fleet:
    """One GPU of five, and a fifth of the places at the service."""
    gpu, groq = SMALL.pools["gpu"], SMALL.pools["groq"]
    places = tuple(replace(each, max_in_flight=each.max_in_flight // 5) for each in groq.backends)
    pools = {"gpu": replace(gpu, backends=gpu.backends[:1]), "groq": replace(groq, backends=places)}
    return replace(SMALL, pools=pools)


def traffic(rate_req_per_s: float, seconds: float, coding: float) -> Iterator[Request]:
    """So many per second, of which this part is coding, spread over the time as they were drawn."""
    streams = []
    for name, part in (("coding", coding), ("chat", 1.0 - coding)):
        count = round(rate_req_per_s * part * seconds)
        drawn = list(islice(generate([ClassTraffic(name, LENGTHS[name])], inf, 0), count))
        stretch = seconds / drawn[-1].arrival_s
        streams.append([replace(each, arrival_s=each.arrival_s * stretch) for each in drawn])
    return merge(*streams, key=lambda each: each.arrival_s)


def run(fleet: Fleet, rate: float, seconds: float, coding: float) -> tuple[RunMetrics, list[float]]:
    """What became of them, and what those who were turned away were told."""
    waits_s: list[float] = []

    def note(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        waits_s.extend(action.retry_after_s for action in actions if isinstance(action, Reject))

    return simulate(fleet, traffic(rate, seconds, coding), on_step=note).metrics, waits_s


def kept(metrics: RunMetrics, name: str) -> float:
    """Of all that arrived of a class, how many met their SLO."""
    of_class = metrics.classes[name]
    return of_class.met / sum(of_class.outcomes.values())


def test_at_three_times_its_capacity_a_fleet_serves_as_much_and_the_valuable_first() -> None:
    """Goodput is at least 90 % of what it is at the capacity, coding keeps its SLO, and who is shed is told when."""
    fleet, capacity, seconds = a_fifth(), 32.0, 60.0
    once, _ = run(fleet, capacity, seconds, 0.2)
    assert all(kept(once, name) >= fleet.classes[name].slo.attainment for name in LENGTHS), "no capacity"
    more, waits_s = run(fleet, 3.0 * capacity, seconds, 0.2)
    assert sum(each.met for each in more.classes.values()) >= 0.9 * sum(each.met for each in once.classes.values())
    assert kept(more, "coding") >= fleet.classes["coding"].slo.attainment
    rejected = {name: each.outcomes["rejected"] for name, each in more.classes.items()}
    assert rejected["chat"] > 100 * rejected["coding"]
    assert sum(rejected.values()) == len(waits_s)
    assert all(1.0 <= wait_s < inf for wait_s in waits_s)
    assert sum(each.outcomes["failed"] for each in more.classes.values()) == 0


def test_a_full_fleet_keeps_the_slo_on_tpot_of_short_answers() -> None:
    """Half of what comes are long prompts with short answers, which others' prompts hold up: the batches are held."""
    metrics, _ = run(SMALL, 240.0, 30.0, 0.5)
    assert kept(metrics, "coding") >= SMALL.classes["coding"].slo.attainment
    assert metrics.classes["chat"].outcomes["rejected"] > 0, "more came than can be served"
