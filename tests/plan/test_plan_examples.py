"""The scenarios that ship: they load, they build, and they are what their names say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headrace.config import load_scenario
from headrace.config import scenario_tables as tables
from headrace.plan.bill import recomputed
from headrace.plan.build import build
from headrace.plan.solve import Settings, solve

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("plan-*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_built(path: Path) -> None:
    """Every part of its demand is served by somebody; contracts that it ships with are used."""
    built = build(load_scenario(path))
    assert all(any(cell in one.uses for one in built.problem.candidates) for cell in range(len(built.problem.cells)))


def test_the_article_has_the_size_that_it_promises() -> None:
    problem = build(load_scenario(ROOT / "examples" / "plan-a-article.toml")).problem
    classes = {cell.workload_class for cell in problem.cells}
    assert len(problem.periods) == 168
    assert len(classes) == 4
    assert all(sum(cell.workload_class == name for cell in problem.cells) == 25 for name in classes)
    assert len(problem.candidates) == 12
    assert len(problem.survivals) == len({one.vendor for one in problem.candidates}) == 5


@pytest.mark.parametrize(("name", "usd_per_system_hour"), [("plan-a-article", 22.75), ("plan-b-restated", 45.51)])
def test_both_contracts_cost_an_hour_what_the_arithmetic_says(name: str, usd_per_system_hour: float) -> None:
    problem = build(load_scenario(ROOT / "examples" / f"{name}.toml")).problem
    wafers = next(one for one in problem.candidates if one.name == "wafers-oss")
    assert round(wafers.usd_per_unit_hour[0] / 42, 2) == usd_per_system_hour
    (contract,) = problem.contracts
    assert contract.must_sign
    assert sum(contract.min_usd) == pytest.approx({"plan-a-article": 10e9, "plan-b-restated": 20e9}[name])


def test_the_company_asks_for_two_billion_tokens_a_day_at_first() -> None:
    built = build(load_scenario(ROOT / "examples" / "plan-c-company.toml"))
    growth = built.stages[0].growth(0.5)
    mean = [(sum(one.rate_per_s) / len(one.rate_per_s), one) for one in built.problem.cells]
    tokens = sum(rate * (one.input_tokens + one.output_tokens) for rate, one in mean) * 86_400 / growth
    assert tokens == pytest.approx(2e9, rel=0.05)


def test_every_setting_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "scenario-file.md").read_text()
    own = [one for one in vars(tables).values() if getattr(one, "__module__", None) == tables.__name__]
    structs = [one for one in own if isinstance(one, type) and issubclass(one, tables.Table)]
    assert len(structs) > 20
    for struct in structs:
        for field in msgspec.structs.fields(struct):
            assert field.encode_name in page, f"{struct.__name__}: {field.encode_name}"
    for key in tables.TOP_LEVEL:
        assert key in page, key


def test_the_companys_plan_costs_what_its_quantities_do() -> None:
    """Solved, and its money computed again by `cost` from units, seconds and tokens alone."""
    scenario = load_scenario(ROOT / "examples" / "plan-c-company.toml")
    built = build(scenario)
    solution = solve(built.problem, Settings(scenario.solver.gap, time_limit_s=300.0, threads=1))
    assert solution.gap <= scenario.solver.gap
    assert recomputed(built, solution).usd == pytest.approx(solution.money.spent_usd, rel=1e-9)
