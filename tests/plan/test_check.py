"""The checker finds what is broken: a plan that is good is spoilt in one place at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from instances import large

from headrace.plan.check import violations
from headrace.plan.problem import Budget, Problem, ShareBound, ShareUnit
from headrace.plan.solution import Solution
from headrace.plan.solve import Settings, solve


@pytest.fixture(scope="module")
def plan() -> Solution:
    problem = large(12, 2, 8, stages=2)
    first, second = problem.contracts
    return solve(replace(problem, contracts=(replace(first, must_sign=True), second)), Settings(gap=0.01))


def test_a_good_plan_breaks_nothing(plan: Solution) -> None:
    assert violations(plan) == []


def _units(by: float) -> Callable[[Solution], Solution]:
    def spoilt(plan: Solution) -> Solution:
        units = plan.units.copy()
        units[int(np.argmax(units.max(axis=1)))] += by
        return replace(plan, units=units)

    return spoilt


def _flow(by: float) -> Callable[[Solution], Solution]:
    return lambda plan: replace(plan, flow=plan.flow * by)


def _limits(**limits: object) -> Callable[[Solution], Solution]:
    return lambda plan: replace(plan, problem=_with(plan.problem, **limits))


def _with(problem: Problem, **limits: object) -> Problem:
    return replace(problem, **limits)


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("whole units", _units(0.5)),
        ("capacity", _units(-100.0)),
        ("survival", lambda plan: replace(plan, units=np.floor(0.5 * plan.units))),
        ("money", _units(100.0)),
        ("demand", _flow(0.99)),
        ("capacity", _flow(1.01)),
        ("offer", _units(1e6)),
        ("power", _units(1e6)),
        ("contract", lambda plan: replace(plan, signed=frozenset())),
        ("group", lambda plan: replace(plan, signed=frozenset({"step 0", "step 1"}))),
        ("budget", _limits(budgets=(Budget("purse", 1.0),))),
        ("share", _limits(shares=(ShareBound("none", ShareUnit.REQUESTS, frozenset({"c0"}), at_least=1.0),))),
        ("share", _limits(shares=(ShareBound("all", ShareUnit.SPEND, frozenset({"c0"}), at_least=1.0),))),
    ],
)
def test_what_is_spoilt_is_named(plan: Solution, kind: str, spoil: Callable[[Solution], Solution]) -> None:
    assert kind in {violation.kind for violation in violations(spoil(plan))}


def test_a_bound_above_the_cost_is_a_violation(plan: Solution) -> None:
    spoilt = replace(plan, bound_usd=plan.bound_usd * 1.1)
    assert [violation.kind for violation in violations(spoilt)] == ["money"]
