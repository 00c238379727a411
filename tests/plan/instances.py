"""Random planning problems, small enough to think through: from a seed, or from hypothesis."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from headrace.plan.problem import (
    Budget,
    Candidate,
    Cell,
    Concentration,
    Contract,
    Period,
    PowerLimit,
    Problem,
    ShareBound,
    ShareUnit,
    Survival,
    Use,
)


def problems() -> st.SearchStrategy[Problem]:
    """1 to 3 candidates, 1 to 3 cells, 1 or 2 periods, with limits or without."""
    return st.builds(lambda seed: small(Random(seed)), st.integers(0, 2**32))


def small(rng: Random, *, limited: bool = True) -> Problem:
    periods = tuple(
        Period(f"p{n}", n if rng.random() < 0.3 else 0, rng.choice([1.0, 5.0])) for n in range(rng.randint(1, 2))
    )
    stages = tuple(f"s{n}" for n in range(1 + max(period.stage for period in periods)))
    cells = tuple(_cell(rng, n, len(periods)) for n in range(rng.randint(1, 3)))
    candidates = tuple(_candidate(rng, n, len(cells), len(stages)) for n in range(rng.randint(1, 3)))
    problem = Problem(periods, stages, cells, candidates)
    return _limited(rng, problem) if limited else problem


def _cell(rng: Random, number: int, periods: int) -> Cell:
    rates = tuple(rng.choice([0.0, 1.0, 1.0, 1.0]) * rng.uniform(0.2, 1.5) for _ in range(periods))
    work = {ShareUnit.COMPUTE: rng.uniform(0.5, 2.0)}
    value = rng.choice([0.0, 0.0, 0.001])
    return Cell(rng.choice(["chat", "code"]), f"b{number}", 100.0, rng.uniform(10.0, 90.0), rates, work, value)


def _candidate(rng: Random, number: int, cells: int, stages: int) -> Candidate:
    served = [n for n in range(cells) if rng.random() < 0.85]
    by_token = rng.random() < 0.25
    uses = {n: _use(rng, by_token) for n in served}
    common = {"name": f"c{number}", "vendor": rng.choice(["x", "y"]), "silicon": "gpu", "site": rng.choice(["n", "s"])}
    if by_token:
        limit = rng.choice([None, rng.uniform(0.5, 3.0)])
        return Candidate(**common, uses=uses, requests_per_s=limit, tokens_per_s=rng.choice([None, 300.0]))
    return Candidate(
        **common,
        uses=uses,
        usd_per_unit_hour=tuple(rng.uniform(1.0, 4.0) for _ in range(stages)),
        unit_w=rng.uniform(100.0, 900.0),
        elastic=rng.random() < 0.4,
        keeps=rng.random() < 0.3,
        max_units=(float(rng.randint(1, 3)),) * stages,
        min_units=(float(rng.choice([0, 0, 1])),) * stages,
        utilization=rng.choice([1.0, 0.8]),
        availability=rng.choice([1.0, 0.9]),
    )


def _use(rng: Random, by_token: bool) -> Use:
    seconds = 0.0 if by_token else rng.uniform(0.1, 1.2)
    usd = rng.uniform(0.0003, 0.002) if by_token else rng.choice([0.0, 0.0001])
    degraded = None if rng.random() < 0.1 else seconds * rng.uniform(0.6, 1.0)
    return Use(seconds, usd, 0.1, 0.01, rng.uniform(0.5, 5.0), degraded)


def _limited(rng: Random, problem: Problem) -> Problem:
    names = [candidate.name for candidate in problem.candidates]
    some = frozenset(names[: rng.randint(1, len(names))])
    stages = len(problem.stages)
    made: dict[str, object] = {}
    if rng.random() < 0.5:
        of = rng.choice(list(ShareUnit))
        bound = {"at_least": rng.uniform(0.05, 0.6)} if rng.random() < 0.5 else {"at_most": rng.uniform(0.4, 0.95)}
        made["shares"] = (ShareBound("part", of, some, **bound, reason="the board said so"),)
    if rng.random() < 0.3:
        made["power"] = (PowerLimit("grid", rng.choice([None, "n"]), (rng.uniform(800.0, 3000.0),) * stages),)
    if rng.random() < 0.3:
        made["concentrations"] = (Concentration("any vendor", rng.choice([ShareUnit.SPEND, ShareUnit.POWER]), 0.8),)
    if rng.random() < 0.4:
        lost = frozenset(c.name for c in problem.candidates if c.vendor == "x")
        level = {"chat": rng.uniform(0.3, 1.0), "code": rng.choice([0.0, 0.5])}
        made["survivals"] = (Survival("without x", lost, level, rng.choice([1.0, 0.9])),)
    if rng.random() < 0.2:
        made["budgets"] = (Budget("purse", rng.uniform(5.0, 60.0)),)
    return _contracted(rng, replace(problem, **made)) if rng.random() < 0.5 else replace(problem, **made)


def _contracted(rng: Random, problem: Problem) -> Problem:
    stages = len(problem.stages)
    contracts = tuple(
        Contract(
            f"k{n}",
            min_usd=(rng.uniform(1.0, 20.0),) * stages if rng.random() < 0.5 else (),
            min_units=(float(rng.randint(1, 2)),) * stages if rng.random() < 0.4 else (),
            fee_usd=rng.choice([0.0, 1.0]),
            group=rng.choice([None, "steps"]),
            must_sign=rng.random() < 0.2,
        )
        for n in range(rng.randint(1, 2))
    )
    bound = tuple(replace(c, contract=rng.choice([None, *(k.name for k in contracts)])) for c in problem.candidates)
    return replace(problem, candidates=bound, contracts=contracts)


def large(periods: int, buckets: int, candidates: int, *, seed: int = 1, stages: int = 1, vendors: int = 5) -> Problem:
    """Four classes with days of their own over periods of a week, candidates of several vendors on all terms.

    A tenth of compute on vendors other than the first, a commitment in two steps, power, no vendor above 80 % of
    spend, and the loss of any one vendor survived.
    """
    rng = Random(seed)
    time = tuple(Period(f"h{n}", n * stages // periods, 8760.0 * stages / periods) for n in range(periods))
    classes = {"coding": (14, 1.0), "agents": (2, 0.6), "chat": (20, 1.0), "batch": (4, 0.2)}
    cells = tuple(_shaped(rng, name, n, time, peak) for name, peak in classes.items() for n in range(buckets))
    offers = tuple(_offered(rng, n, vendors, cells, stages) for n in range(candidates))
    names = {
        vendor: frozenset(c.name for c in offers if c.vendor == vendor) for vendor in sorted({c.vendor for c in offers})
    }
    level = {"coding": 1.0, "agents": 0.95, "chat": 0.9}
    steps = tuple(Contract(f"step {n}", min_usd=(usd,) * stages, group="steps") for n, usd in enumerate((1e8, 3e8)))
    elsewhere = frozenset(c.name for c in offers if c.vendor != "v0")
    return Problem(
        time,
        tuple(f"year {n}" for n in range(stages)),
        cells,
        offers,
        contracts=steps,
        shares=(ShareBound("elsewhere", ShareUnit.COMPUTE, elsewhere, at_least=0.1),),
        power=(PowerLimit("site n", "n", (4e8,) * stages),),
        concentrations=(Concentration("one vendor", ShareUnit.SPEND, 0.8),),
        survivals=tuple(Survival(f"without {vendor}", own, level, 0.8) for vendor, own in names.items()),
    )


def _shaped(rng: Random, name: str, bucket: int, time: tuple[Period, ...], peak: tuple[int, float]) -> Cell:
    """Demand of a day with its peak at an hour, and a bucket's own swing on top."""
    hour, depth = peak
    size, own = rng.gammavariate(0.7, 2e4), rng.uniform(0.0, 0.3)
    days = [1.0 + depth * math.cos(2 * math.pi * (n % 24 - hour) / 24) for n in range(len(time))]
    rates = tuple(size * (0.2 + day) * (1.0 + own * rng.uniform(-1.0, 1.0)) for day in days)
    tokens = 50.0 * 1.22**bucket, 40.0 * 1.12**bucket
    return Cell(name, f"b{bucket}", *tokens, rates, {ShareUnit.COMPUTE: tokens[0] * 2e-5 + tokens[1] * 4e-4}, 1e-5)


def _offered(rng: Random, number: int, vendors: int, cells: tuple[Cell, ...], stages: int) -> Candidate:
    """Every third on demand, every sixth by the token, the rest kept; one of them needs a contract."""
    speed, taste = rng.uniform(0.5, 6.0), rng.uniform(-0.3, 0.3)
    by_token, elastic = number % 6 == 5, number % 3 == 1
    uses = {}
    for n, cell in enumerate(cells):
        length = cell.input_tokens + 10 * cell.output_tokens
        unit_s = cell.work[ShareUnit.COMPUTE] / speed * (length / 2000.0) ** taste * rng.uniform(0.8, 1.25)
        usd = (
            (cell.input_tokens * 2e-7 + cell.output_tokens * 8e-7) * rng.uniform(0.7, 1.3)
            if by_token
            else unit_s * 2e-5
        )
        if rng.random() < 0.95:
            uses[n] = Use(
                0.0 if by_token else unit_s,
                usd,
                0.2,
                0.01,
                0.01 * cell.output_tokens / speed,
                0.0 if by_token else 0.8 * unit_s,
            )
    common = {
        "name": f"c{number}",
        "vendor": f"v{number % vendors}",
        "silicon": "s",
        "site": "ns"[number % 2],
        "uses": uses,
    }
    if by_token:
        return Candidate(**common, tokens_per_s=_tokens_per_s(cells) / 20.0)
    price = speed * rng.uniform(2.0, 3.5) * (1.6 if elastic else 1.0)
    return Candidate(
        **common,
        usd_per_unit_hour=(price,) * stages,
        unit_w=speed * 700.0,
        elastic=elastic,
        keeps=not elastic,
        max_units=(2e5,) * stages,
        utilization=0.7,
        availability=0.95 if elastic else 1.0,
        contract="step 1" if number == 2 else "step 0" if number == 8 else None,
    )


def _tokens_per_s(cells: tuple[Cell, ...]) -> float:
    """Of all demand, in the mean over periods."""
    return sum((cell.input_tokens + cell.output_tokens) * sum(cell.rate_per_s) / len(cell.rate_per_s) for cell in cells)
