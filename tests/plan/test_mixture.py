"""What a plan promises is what a simulated replica does with the same mixture; laws of the formula behind it."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "study"))
from plan_rig import planned

from headrace.fleet import Deployment, catalog
from headrace.metrics import RequestRecord
from headrace.perf import speed_curve
from headrace.plan.build import Built
from headrace.plan.mixture import latencies
from headrace.plan.operating import prefill_s
from headrace.plan.solution import Solution
from headrace.sim import simulate
from headrace.study.plan.fleet import planned_fleet
from headrace.workload import Request

OWN = 0
SECONDS = 1500.0


def loaded(rates: list[float]) -> tuple[Built, Solution]:
    """The small plan with one unit of its own, and so many requests/s of each cell there, in its first period."""
    built, plan = planned()
    units, flow = np.zeros_like(plan.units), np.zeros_like(plan.flow)
    units[OWN], flow[:, OWN, 0] = 1.0, rates
    classes = tuple(replace(one, burstiness=1.0) for one in built.classes)
    return replace(built, classes=classes), replace(plan, units=units, flow=flow)


@pytest.mark.parametrize("rates", [[2.0, 1.0, 1.0], [6.0, 3.0, 0.5], [0.2, 0.1, 4.0]])
def test_the_mixtures_latency_is_that_of_a_simulated_replica(rates: list[float]) -> None:
    built, plan = loaded(rates)
    expected = latencies(built, plan, OWN, [0]).e2e_s[:, 0]
    seen: dict[tuple[int, int], list[float]] = {}

    def watch(record: RequestRecord) -> None:
        seen.setdefault((record.input_tokens, record.output_tokens), []).append(record.e2e_s or 0.0)

    fleet = planned_fleet(built, plan, 0)
    own = next(iter(fleet.pools.values()))
    alone = replace(
        fleet,
        pools={own.name: replace(own, backends=(replace(own.backends[0], max_in_flight=256),))},
        routes=tuple(replace(route, pools=(own.name,)) for route in fleet.routes),
        shares={},
    )
    simulate(alone, iter(_poisson(built, rates)), on_request=watch)
    for cell, e2e_s in zip(built.problem.cells, expected, strict=True):
        assert mean(seen[round(cell.input_tokens), round(cell.output_tokens)]) == pytest.approx(e2e_s, rel=0.08)


def _poisson(built: Built, rates: list[float]) -> list[Request]:
    stream, found = random.Random(5), []
    for cell, rate in zip(built.problem.cells, rates, strict=True):
        at_s = 0.0
        while (at_s := at_s + stream.expovariate(rate)) < SECONDS:
            size = round(cell.input_tokens), round(cell.output_tokens)
            found.append(Request(at_s, cell.workload_class, *size))
    return sorted(found, key=lambda request: request.arrival_s)


def test_more_traffic_is_never_faster_and_more_units_are_never_slower() -> None:
    for rates in ([1.0, 1.0, 1.0], [4.0, 0.5, 1.0]):
        built, plan = loaded(rates)
        here = latencies(built, plan, OWN, [0])
        fuller = latencies(*loaded([1.3 * rate for rate in rates]), OWN, [0])
        roomier = latencies(built, replace(plan, units=2.0 * plan.units), OWN, [0])
        for few, much, room in zip(*map(_figures, (here, fuller, roomier)), strict=True):
            assert (much[:, 0] >= few[:, 0]).all()
            assert (room[:, 0] <= few[:, 0]).all()


def _figures(found):  # type: ignore[no-untyped-def]
    return found.ttft_s, found.tpot_s, found.e2e_s


def test_a_replica_that_is_too_full_promises_its_operating_points() -> None:
    built, plan = loaded([500.0, 500.0, 500.0])
    found = latencies(built, plan, OWN, [0])
    for j, use in built.problem.candidates[OWN].uses.items():
        assert found.e2e_s[j, 0] == use.e2e_s


def test_what_is_had_by_the_token_is_as_fast_as_it_is_alone() -> None:
    built, plan = planned()
    index = next(k for k, candidate in enumerate(built.problem.candidates) if candidate.by_token)
    found = latencies(built, plan, index, [0, 1])
    for j, use in built.problem.candidates[index].uses.items():
        assert found.ttft_s[j].tolist() == [use.ttft_s] * 2
        assert found.e2e_s[j].tolist() == [use.e2e_s] * 2


@pytest.mark.parametrize("cached", [0, 5_000, 53_000])
def test_the_prefill_of_what_is_fresh_is_what_a_model_server_takes_for_it(cached: int) -> None:
    """The fresh tokens attend to the cached ones as well."""
    curve = speed_curve(Deployment("h100", catalog.model("gpt-oss-120b"), catalog.accelerator("H100"), count=2))
    inputs, fresh = np.array([[66_000.0]]), np.array([[66_000.0 - cached]])
    found = float(prefill_s(curve, inputs, fresh)[0, 0])
    assert found == pytest.approx(curve.prefill_fixed_s + curve.chunk_s(cached, 66_000 - cached))
    if not cached:
        assert found == pytest.approx(curve.prefill_s(66_000))
