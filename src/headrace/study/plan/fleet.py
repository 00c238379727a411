"""A plan as a fleet that the gateway runs: pools for what is held, routes for what may go where, the plan's prices.

    pool       a candidate of which units are held in the period, or that is had by the token; a backend is one unit
    price      hourly: what a held hour costs on the offer's terms, with the energy of work on top; by the token: that
    route      of a class and a model: the pools that carry it in the plan, and those that could carry all of it
    KV room    where it is what fills up (SRAM): kept to what the planned load holds, starting at the price of the pool
    share      target: what the plan itself gives those pools; starting price: minus the plan's price of the bound
    part       of what is had by the token where no rule speaks: see `parts`
    in flight  at most what a unit holds where it is as full as SLOs allow: beyond it its classes would miss them. A few
               times as many where the plan counts on its prefix cache: who has a prompt there should rather wait for it
               than have it computed anew elsewhere, and prices see to the load

A rule of the plan bounds a share from one side, a fleet steers it to a figure: so the target is what the plan came to.
A plan prices one more unit of a bound (`at least`: it costs, `at most`: it saves), a share's pools pay for being used:
hence the sign. Addresses are no part of a plan: backends are emulated on loopback ports until somebody writes theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from math import ceil

from headrace.cost import hourly_cost, unit_of
from headrace.fleet import Backend, Deployment, Fleet, Hourly, Limits, PerToken, Pool, PriceTerms, Quota, Route
from headrace.fleet.scenario import PlannedClass
from headrace.fleet.terms import ByToken, Owned
from headrace.perf import speed_curve
from headrace.plan.build import Built
from headrace.plan.problem import Problem
from headrace.plan.solution import Solution
from headrace.plan.supply import Supply
from headrace.plan.uses import cached_fraction, fullest_points
from headrace.study.plan.promises import planned_budgets, planned_commitments, price_of
from headrace.study.plan.shares import planned_shares
from headrace.study.plan.traffic import block_tokens
from headrace.workload import Match, WorkloadClass

FIRST_PORT, LAST_PORT = 20_000, 65_535
CLASS_HEADER = "x-headrace-class"
CACHE_SLOT_ROOM = 4.0  # attempts in flight at a unit whose cache is counted on, at most, over those that its SLOs allow
API_ROOM = 4.0  # attempts that may be in flight at an API, over those of all traffic that it could serve
KV_FILLS = 0.8  # of its KV room that a unit's planned load holds: from here on it is KV that is scarce, not slots
INDEX_ROOM = 2.0  # blocks that the policy can remember, over those of all sessions: they are not spread evenly
PROBES = 8  # attempts with which a breaker asks, in the first minutes, whether what is lost is back
MOST_ATTEMPTS = 32  # of one request, however many backends are lost at once


@dataclass(frozen=True, slots=True)
class Held:
    """What there is of one candidate in a period.

    Attributes:
        index: of the candidate in the problem.
        units: backends; one for what is had by the token.
    """

    index: int
    supply: Supply
    units: int

    @property
    def pool(self) -> str:
        """The pool's name: that of the candidate, in letters that a name may have."""
        return self.supply.name.replace("@", ".")


def busiest_period(problem: Problem, stage: int | None = None) -> int:
    """The period in which most tokens are asked for, of one stage or of all; the first of several."""

    def tokens(period: int) -> float:
        return sum(cell.rate_per_s[period] * (cell.input_tokens + cell.output_tokens) for cell in problem.cells)

    periods = [index for index, period in enumerate(problem.periods) if stage in (None, period.stage)]
    return max(periods, key=lambda index: (tokens(index), -index))


def planned_fleet(built: Built, solution: Solution, period: int, over: Sequence[int] | None = None) -> Fleet:
    """The fleet of a plan in one period.

    Args:
        period: whose units there are.
        over: periods over which the plan's shares are the targets; commitments and budgets hold then. None: that period
            alone, in which the promises of a year say nothing.
    """
    there = held(built, solution, period)
    addresses = _addresses()
    pools = {one.pool: _pool(built, solution, period, one, addresses) for one in there}
    names = {one.index: one.pool for one in there}
    shares = planned_shares(built, solution, names, over or (period,))
    stage = built.problem.periods[period].stage
    deployments = [pool.deployment for pool in pools.values()]
    deployments += [share.reference for share in shares.values() if share.reference is not None]
    return Fleet(
        models={one.model.name: one.model for one in deployments},
        deployments={one.name: one for one in deployments},
        pools=pools,
        classes={one.name: _workload_class(one, solution, period) for one in built.scenario.classes},
        shares=shares,
        routes=tuple(_routes(built, solution, there)),
        limits=_limits(built, period, there, pools),
        default_class=_largest_class(solution.problem, period),
        commitments={} if over is None else planned_commitments(built, solution, names, stage),
        budgets={} if over is None else planned_budgets(built, solution),
    )


def held(built: Built, solution: Solution, period: int) -> tuple[Held, ...]:
    """Candidates that are there in a period and can serve something, in the order of the problem."""
    found = []
    for index, candidate in enumerate(solution.problem.candidates):
        signed = candidate.contract is None or candidate.contract in solution.signed
        units = 1 if candidate.by_token else round(float(solution.units[index, period]))
        if candidate.uses and signed and units > 0:
            found.append(Held(index, built.supplies[index], units))
    return tuple(found)


def class_flow(built: Built, solution: Solution, index: int, workload_class: str) -> float:
    """Requests/s of a class that a candidate carries, summed over all periods."""
    cells = [k for k, cell in enumerate(built.problem.cells) if cell.workload_class == workload_class]
    return float(solution.flow[cells, index].sum())


def _pool(built: Built, solution: Solution, period: int, one: Held, addresses: Iterator[str]) -> Pool:
    api = one.index in _by_token(built)
    full = 0.0 if api else _full(built, solution, one)
    most = _api_in_flight(built, period, one) if api else max(1, round(_slot_room(built, one) * full))
    names = (f"{one.pool}-{number}" for number in range(1, one.units + 1))
    backends = tuple(
        Backend(name, one.pool, url, max_in_flight=most, emulated=True)
        for name, url in zip(names, islice(addresses, one.units), strict=True)
    )
    pool = Pool(one.pool, _deployment(one), _price(built, period, one), backends)
    return _priced_room(built, solution, period, one, pool, full)


def _priced_room(built: Built, solution: Solution, period: int, one: Held, pool: Pool, full: float) -> Pool:
    """A pool whose unit seconds have a price in this period: USD per unit second, spread over the unit's KV tokens."""
    price = price_of(solution, "capacity", f"{one.supply.name}, {built.problem.periods[period].name}")
    room = None if price >= 0.0 else speed_curve(pool.deployment).kv_capacity_tokens
    if room is None or pool.deployment.accelerator is None:
        return pool
    busy = {j: float(solution.flow[j, one.index, period]) for j in built.problem.candidates[one.index].uses}
    cells = [built.problem.cells[j] for j in busy]
    if sum(busy.values()) <= 0.0:
        return pool
    context = sum(rate * (c.input_tokens + c.output_tokens) for rate, c in zip(busy.values(), cells, strict=True))
    held_part = full * context / sum(busy.values()) / room
    if held_part < KV_FILLS:
        return pool
    return replace(pool, max_kv_fraction=min(1.0, held_part), kv_starting_price_usd=-price / room)


def _addresses() -> Iterator[str]:
    """Loopback addresses, each once."""
    for host in count(1):
        for port in range(FIRST_PORT, LAST_PORT + 1):
            yield f"http://127.0.0.{host}:{port}"


def _by_token(built: Built) -> set[int]:
    return {index for index, candidate in enumerate(built.problem.candidates) if candidate.by_token}


def _full(built: Built, solution: Solution, one: Held) -> float:
    """Requests that a unit holds when it is as full as its cells' SLOs allow, by the seconds that each takes of it.

    1 / sum of f_j / B_j, with f_j the part of the unit's seconds that goes to cell j and B_j the concurrency at which
    it is as full as that cell's SLO allows; of a unit that carries nothing, the smallest B_j.
    """
    uses = built.problem.candidates[one.index].uses
    cells = tuple(built.problem.cells[j] for j in uses)
    points = fullest_points(one.supply, cells, tuple(built.planned_class(j) for j in uses))
    most = {j: point.concurrency for j, point in zip(uses, points, strict=True) if point is not None}
    busy = {j: float(solution.flow[j, one.index].sum()) * uses[j].unit_s for j in most}
    total = sum(busy.values())
    return float(min(most.values())) if total <= 0.0 else total / sum(busy[j] / most[j] for j in most)


def _slot_room(built: Built, one: Held) -> float:
    """Attempts that may be in flight at a unit, over those that it holds at its SLOs."""
    uses = built.problem.candidates[one.index].uses
    caches = any(cached_fraction(one.supply.offer, built.planned_class(j)) > 0.0 for j in uses)
    return CACHE_SLOT_ROOM if caches else 1.0


def _api_in_flight(built: Built, period: int, one: Held) -> int:
    """Room for all that an API could be asked for, and for a rise: it is no limit of the plan's."""
    uses, cells = built.problem.candidates[one.index].uses, built.problem.cells
    usual = sum(cells[j].rate_per_s[period] * use.e2e_s for j, use in uses.items())
    return max(ceil(API_ROOM * usual), Backend("", "", "").max_in_flight)


def _deployment(one: Held) -> Deployment:
    """The offer's, with the rate limits of its terms where it is an API."""
    terms, deployment = one.supply.offer.terms, one.supply.offer.deployment
    if not isinstance(terms, ByToken) or (terms.requests_per_minute is None and terms.tokens_per_minute is None):
        return deployment
    quota = replace(
        deployment.quota or Quota(),
        requests_per_minute=terms.requests_per_minute,
        tokens_per_minute=terms.tokens_per_minute,
    )
    return replace(deployment, name=f"{deployment.name}.{one.pool}", quota=quota)


def _price(built: Built, period: int, one: Held) -> PriceTerms:
    terms, factor = one.supply.offer.terms, one.supply.factor
    if isinstance(terms, ByToken):
        price, cached = terms.price, terms.price.cached_input_usd_per_mtok
        return PerToken(
            price.input_usd_per_mtok * factor,
            price.output_usd_per_mtok * factor,
            None if cached is None else cached * factor,
        )
    unit = unit_of(one.supply.offer.deployment)
    stage = built.problem.periods[period].stage
    usd = built.problem.candidates[one.index].usd_per_unit_hour[stage] / unit.accelerators
    if not isinstance(terms, Owned):
        return Hourly(usd, 0.0)
    cost, power = hourly_cost(terms, unit), terms.electricity
    busy = cost.busy / (cost.busy + cost.idle_power) if cost.busy > 0.0 else 0.0
    return Hourly(usd, power.usd_per_kwh * busy * factor, power.pue)


def _routes(built: Built, solution: Solution, there: Sequence[Held]) -> Iterator[Route]:
    for planned in built.scenario.classes:
        for model in planned.models:
            pools = [
                one.pool
                for one in there
                if one.supply.offer.deployment.model.name == model and _carries(built, solution, one, planned)
            ]
            if pools:
                yield Route(tuple(pools), model, workload_class=planned.name)


def _carries(built: Built, solution: Solution, one: Held, planned: PlannedClass) -> bool:
    """Whether the candidate carries the class in the plan, or could carry all of it."""
    cells = [j for j, cell in enumerate(built.problem.cells) if cell.workload_class == planned.name]
    able = all(j in built.problem.candidates[one.index].uses for j in cells)
    return able or class_flow(built, solution, one.index, planned.name) > 0.0


def _workload_class(planned: PlannedClass, solution: Solution, period: int) -> WorkloadClass:
    """The class as planned, recognised by a header where nothing else is said, its SLO kept by a price.

    That price starts from what the plan pays to serve one more request of the class rather than to miss it.
    """
    problem = solution.problem
    workload_class, slo = planned.workload_class, planned.workload_class.slo
    cells = [cell for cell in problem.cells if cell.workload_class == planned.name]
    rate = sum(cell.rate_per_s[period] for cell in cells)
    output = sum(cell.rate_per_s[period] * cell.output_tokens for cell in cells)
    keeps = slo.attainment < 1.0 and (slo.ttft_s is not None or slo.tpot_s is not None)
    price = max(0.0, price_of(solution, "demand", planned.name))
    match = workload_class.match
    return replace(
        workload_class,
        slo=replace(slo, priced=True, starting_price_usd=price) if keeps else slo,
        match=Match(headers=((CLASS_HEADER, planned.name),)) if match == Match() else match,
        expected_output_tokens=output / rate if rate > 0.0 else workload_class.expected_output_tokens,
    )


def _limits(built: Built, period: int, there: Sequence[Held], pools: Mapping[str, Pool]) -> Limits:
    """As by default, where the plan asks for nothing else.

    Who may wait long for a first token is left to wait, and the queue has room for all of them. Where a loss must be
    survived, every breaker of what is lost takes its failures to open and its probes, and of what was in flight the
    promised part comes back at once: retries are for that many, and one request may pass over all of it. Where the plan
    counts on prefix caches, the policy must remember where each session's blocks are.
    """
    usual = Limits()
    longest_s = max(_patience_s(one) for one in built.scenario.classes)
    rate = sum(cell.rate_per_s[period] for cell in built.problem.cells)
    wait_s = max(usual.queue_timeout_s, longest_s)
    units, broken = 0, 0.0
    for each in built.problem.survivals:
        gone = [pools[one.pool] for one in there if one.supply.name in each.lost]
        served = max(each.level.values(), default=0.0)
        units = max(units, sum(len(pool.backends) for pool in gone))
        broken = max(broken, served * sum(backend.max_in_flight for pool in gone for backend in pool.backends))
    return replace(
        usual,
        queue_timeout_s=wait_s,
        queue_depth=max(usual.queue_depth, ceil(rate * wait_s)),
        first_byte_timeout_s=max(usual.first_byte_timeout_s, longest_s),
        max_attempts=max(usual.max_attempts, min(units + 1, MOST_ATTEMPTS)),
        retry_burst=max(usual.retry_burst, units * (usual.breaker_failures + PROBES) + ceil(broken)),
        prefix_index_entries=max(usual.prefix_index_entries, ceil(INDEX_ROOM * _session_blocks(built, period))),
    )


def _session_blocks(built: Built, period: int) -> float:
    """Prompt blocks of all sessions whose beginnings the plan expects to find in caches."""
    cached = 0.0
    for j, cell in enumerate(built.problem.cells):
        planned = built.planned_class(j)
        cached += cell.rate_per_s[period] * planned.cache_hold_s * planned.cached_input_fraction * cell.input_tokens
    return cached / block_tokens(built)


def _patience_s(planned: PlannedClass) -> float:
    """How long a first token may take."""
    slo, timeout_s = planned.workload_class.slo, planned.workload_class.timeout_s
    return min(timeout_s, timeout_s if slo.ttft_s is None else slo.ttft_s, planned.e2e_s or timeout_s)


def _largest_class(problem: Problem, period: int) -> str:
    """The class with most requests: what is not recognised is taken for one of it."""
    rates: dict[str, float] = {}
    for cell in problem.cells:
        rates[cell.workload_class] = rates.get(cell.workload_class, 0.0) + cell.rate_per_s[period]
    return max(rates, key=lambda name: rates[name])
