"""Traffic as a plan expects it: drawn from the demand of one period, cell by cell, to prove the plan with.

Clusters come by a Poisson process; a class whose burstiness is z has clusters of geometric size with mean (1 + z) / 2,
for then the variance of counts over their mean is E[N^2] / E[N] = z. A cluster comes within a part of the class's
shortest planned stay. The load may change over time; the process is thinned to it (Lewis and Shedler, 1979).

A request has its bucket's mean lengths, and asks for the models in the parts that the plan serves it with. Where a
class counts on a prefix cache, it goes on with one of its sessions: there are so many of them that each comes back
every `cache_hold_s`, and that part of the input which the cache should find begins alike within a session.

Prefix caches are cold at the start of a run, and a fleet that is full with warm caches never catches up with cold
ones. So every session comes once before the run begins, as fast as it will come later: that fills the fleet, and
sessions are spread over all of it. Then it has time to finish: computing all that a class keeps cached takes at most
the work of `cache_hold_s / (1 - cached part)` seconds of its peak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, merge
from math import ceil
from operator import attrgetter, itemgetter
from random import Random

from headrace.fleet.scenario import PlannedClass
from headrace.plan.build import Built
from headrace.plan.solution import Solution
from headrace.rng import stream
from headrace.workload import Prefix, Request

CLUSTER_PART = 0.1  # of the shortest planned stay, in which a cluster comes
KV_BLOCK_TOKENS, LARGEST_BLOCK_TOKENS = 16, 512
BLOCKS_OF_SHORTEST = 4  # blocks of the shortest cached input, at least: it is rounded by 12 % at most, others by less

Load = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Course:
    """How load goes over a run, in planned peaks, for each class.

    Attributes:
        load: of a class's name and the time in seconds.
        highest: no load is above it.
    """

    duration_s: float
    load: Callable[[str, float], float]
    highest: float


@dataclass(frozen=True, slots=True)
class _Kind:
    """Requests of one cell that ask for one model."""

    input_tokens: int
    output_tokens: int
    model: str
    cached_tokens: int
    sessions: int
    first_block: int


def planned_traffic(
    built: Built,
    solution: Solution,
    period: int,
    course: Course,
    fraction: float,
    seed: int,
    block_size: int | None = None,
    start_s: float = 0.0,
) -> Iterator[Request]:
    """Requests of all classes in one period, in order of arrival.

    Args:
        fraction: part of the planned rate that is drawn: the fleet is thinned alike.
        seed: each class draws from streams of its own.
        block_size: of the blocks in which prefixes are counted, in tokens; None: as fine as the shortest of them needs.
        start_s: when the course begins. Caches are warmed before, if there is time for it: see `warm_up_s`.
    """
    size = block_size or block_tokens(built)
    streams = [
        _class_traffic(built, solution, planned, period, course, fraction, seed, size, start_s)
        for planned in built.scenario.classes
    ]
    return merge(*streams, key=attrgetter("arrival_s"))


def warm_up_s(built: Built) -> float:
    """Seconds before a run in which caches are warmed; 0 where no class counts on one."""
    seconds = [
        planned.cache_hold_s / (1.0 - planned.cached_input_fraction)
        for planned in built.scenario.classes
        if 0.0 < planned.cached_input_fraction < 1.0
    ]
    return max(seconds, default=0.0)


def _class_traffic(
    built: Built,
    solution: Solution,
    planned: PlannedClass,
    period: int,
    course: Course,
    fraction: float,
    seed: int,
    block_tokens: int,
    start_s: float,
) -> Iterator[Request]:
    kinds, rates = _kinds(built, solution, planned, period, fraction)
    if not kinds:
        return
    arrivals = stream(seed, f"plan.{planned.name}.arrivals")
    sizes = stream(seed, f"plan.{planned.name}.sizes")
    spread_s = CLUSTER_PART * _shortest_stay_s(built, solution, planned, period)
    if start_s > planned.cache_hold_s:
        yield from _warm_up(planned, kinds, block_tokens)
    for at_s in _times_s(planned, sum(rates), spread_s, course, arrivals):
        kind = sizes.choices(kinds, rates)[0]
        yield _request(planned, kind, start_s + at_s, sizes.randrange(kind.sessions), block_tokens)


def _warm_up(planned: PlannedClass, kinds: Sequence[_Kind], block_tokens: int) -> Iterator[Request]:
    """Every session once, those of all kinds mixed, at even distances."""
    sessions = [
        ((number + 0.5) / kind.sessions, kind, number)
        for kind in kinds
        if kind.cached_tokens
        for number in range(kind.sessions)
    ]
    for part, kind, number in sorted(sessions, key=itemgetter(0)):
        yield _request(planned, kind, part * planned.cache_hold_s, number, block_tokens)


def _request(planned: PlannedClass, kind: _Kind, at_s: float, session: int, block_tokens: int) -> Request:
    """The kind's request of one of its sessions."""
    prefix = _prefix(kind, block_tokens, session) if kind.cached_tokens else None
    return Request(at_s, planned.name, kind.input_tokens, kind.output_tokens, kind.model, prefix=prefix)


def _times_s(planned: PlannedClass, rate: float, spread_s: float, course: Course, random: Random) -> Iterator[float]:
    """Arrival times in order: clusters, thinned to the load."""
    largest = rate * course.highest
    mean_size = 0.5 * (1.0 + planned.burstiness)
    now_s, waiting = 0.0, [0.0][:0]
    heapify(waiting)
    while largest > 0.0:
        now_s += random.expovariate(largest / mean_size)
        while waiting and waiting[0] <= now_s:
            yield heappop(waiting)
        if now_s >= course.duration_s:
            break
        if random.random() * course.highest < course.load(planned.name, now_s):
            heappush(waiting, now_s)
            while random.random() * mean_size >= 1.0:
                heappush(waiting, now_s + random.random() * spread_s)
    while waiting and waiting[0] < course.duration_s:
        yield heappop(waiting)


def _kinds(
    built: Built, solution: Solution, planned: PlannedClass, period: int, fraction: float
) -> tuple[list[_Kind], list[float]]:
    """What requests of a class are like, and how many per second of each."""
    kinds: list[_Kind] = []
    rates: list[float] = []
    for j, cell in enumerate(built.problem.cells):
        rate = cell.rate_per_s[period] * fraction
        if cell.workload_class != planned.name or rate <= 0.0:
            continue
        inputs, outputs = max(1, round(cell.input_tokens)), max(1, round(cell.output_tokens))
        cached = int(planned.cached_input_fraction * inputs)
        sessions = max(1, ceil(rate * planned.cache_hold_s))
        for number, (model, part) in enumerate(_models(built, solution, j, period).items()):
            first = (j * len(planned.models) + number) << 48
            kinds.append(_Kind(inputs, outputs, model, cached, max(1, ceil(sessions * part)), first))
            rates.append(rate * part)
    return kinds, rates


def models_asked(built: Built, solution: Solution, workload_class: str, period: int) -> list[str]:
    """The models that a class's requests ask for in a period, in order of their names."""
    cells = [j for j, cell in enumerate(built.problem.cells) if cell.workload_class == workload_class]
    return sorted({model for j in cells for model in _models(built, solution, j, period)})


def _models(built: Built, solution: Solution, cell: int, period: int) -> dict[str, float]:
    """In which parts the plan serves a cell with each model."""
    flows: dict[str, float] = {}
    for k, supply in enumerate(built.supplies):
        rate = float(solution.flow[cell, k, period])
        if rate > 0.0:
            model = supply.offer.deployment.model.name
            flows[model] = flows.get(model, 0.0) + rate
    total = sum(flows.values())
    return {model: rate / total for model, rate in flows.items()}


def _prefix(kind: _Kind, block_tokens: int, session: int) -> Prefix:
    """The cached part of one of the kind's sessions."""
    first = kind.first_block + (session << 24)
    return Prefix(block_tokens, range(first, first + round(kind.cached_tokens / block_tokens)))


def block_tokens(built: Built) -> int:
    """One block size for the whole run, as model servers want it: fine enough for the shortest cached input."""
    cached = [
        built.planned_class(j).cached_input_fraction * cell.input_tokens
        for j, cell in enumerate(built.problem.cells)
        if built.planned_class(j).cached_input_fraction > 0.0
    ]
    size = KV_BLOCK_TOKENS
    while cached and size < LARGEST_BLOCK_TOKENS and 2 * size * BLOCKS_OF_SHORTEST <= min(cached):
        size *= 2
    return size


def _shortest_stay_s(built: Built, solution: Solution, planned: PlannedClass, period: int) -> float:
    """The shortest planned E2E of what the class is really sent to."""
    stays = [
        use.e2e_s
        for k, candidate in enumerate(built.problem.candidates)
        for j, use in candidate.uses.items()
        if built.problem.cells[j].workload_class == planned.name and solution.flow[j, k, period] > 0.0
    ]
    return min(stays, default=0.0)
