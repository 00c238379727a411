"""What is said of a plan follows from it: money adds up, parts are parts, studies move the right way."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from plan_rig import SCENARIO, scenario

from headrace.study.plan.answer import PlanAnswer, decode_answer, encode_answer
from headrace.study.plan.assumptions import assumptions
from headrace.study.plan.compare import compare_plans
from headrace.study.plan.desk import EXPECTED
from headrace.study.plan.make import Made, Wanted, make_plan
from headrace.study.plan.page import plan_page
from headrace.study.plan.words import answer_sentences, count, percent, usd


@pytest.fixture(scope="module")
def made() -> Made:
    return make_plan(scenario(), [SCENARIO], Wanted(studies=True, studies_limit_s=600.0, threads=1))


@pytest.fixture(scope="module")
def answer(made: Made) -> PlanAnswer:
    return made.answer


def test_money_is_shared_out_whole_in_every_way(answer: PlanAnswer) -> None:
    cost = answer.cost
    assert cost.spent_usd == pytest.approx(cost.units_usd + cost.requests_usd + cost.shortfalls_usd + cost.fees_usd)
    for parts in (cost.by_stage, cost.by_terms, cost.by_silicon, cost.by_vendor):
        assert sum(parts.values()) == pytest.approx(cost.spent_usd)
    assert sum(each.usd for each in answer.offers) == pytest.approx(cost.units_usd + cost.requests_usd)
    requests = answer.requests_per_day * 365.0
    by_class = sum(each.usd_per_request * each.requests_per_day * 365.0 for each in answer.classes)
    assert by_class <= cost.spent_usd * (1.0 + 1e-9)
    assert requests == pytest.approx(1.2e6 * 365.0, rel=1e-6)


def test_parts_are_parts_of_everything(answer: PlanAnswer) -> None:
    assert sum(each.requests for each in answer.offers) == pytest.approx(1.0)
    assert sum(each.output_tokens for each in answer.offers) == pytest.approx(1.0)
    for each in answer.classes:
        assert sum(each.places.values()) == pytest.approx(1.0)
    (share,) = answer.shares
    assert share.realized == pytest.approx(share.in_units["requests"])
    assert share.realized >= 0.1 - 1e-6
    assert "compute" not in share.in_units  # no rule says what a reference second is


def test_an_answer_is_read_back_as_it_was_written(answer: PlanAnswer) -> None:
    assert decode_answer(encode_answer(answer)) == answer


def test_a_plan_answers_with_the_same_bytes_again(answer: PlanAnswer) -> None:
    again = make_plan(scenario(), [SCENARIO], Wanted(threads=1)).answer
    first = json.loads(encode_answer(answer)) | {"studies": None, "classes": None}
    assert json.loads(encode_answer(again)) | {"studies": None, "classes": None} == first


def test_no_rule_costs_less_than_nothing_beyond_the_solvers_gap(answer: PlanAnswer) -> None:
    noise = 0.01 * answer.solve.objective_usd
    assert answer.studies.rules is not None
    costs = {each.name: each for each in answer.studies.rules}
    assert set(costs) == {"fast share", "no cloud"}
    for each in costs.values():
        assert each.cost_usd is not None
        assert each.cost_usd >= -noise
    share = costs["fast share"]
    assert share.price_usd is not None
    assert share.step_usd is not None
    assert share.price_usd < 0.0  # a point less of a bound that binds saves
    assert share.step_usd <= noise


def test_the_curve_is_never_below_the_plan_without_the_rule_and_rises_with_demand(answer: PlanAnswer) -> None:
    curve, rules = answer.studies.curve, answer.studies.rules
    assert curve is not None
    assert rules is not None
    assert (curve.of, curve.what) == ("requests", ["fast"])
    free = answer.solve.objective_usd - next(each.cost_usd or 0.0 for each in rules if each.name == "fast share")
    costs = {case: {p.share: p.spent_usd for p in points} for case, points in curve.points.items()}
    assert set(costs) == {EXPECTED, "demand low", "demand high", "price low", "price high"}
    for share, cost in costs[EXPECTED].items():
        high, low = costs["demand high"][share], costs["demand low"][share]
        if cost is not None:
            assert cost >= free * 0.98
        if cost is not None and high is not None and low is not None:
            assert low <= cost * 1.02
            assert cost <= high * 1.02


def test_break_even_prices_lie_where_the_plan_turns(answer: PlanAnswer) -> None:
    assert answer.studies.break_even is not None
    found = {each.offer: each for each in answer.studies.break_even}
    assert set(found) == {"own", "rent", "fast"}
    assert found["fast"].always[EXPECTED]  # a rule wants a tenth there at any price
    assert found["own"].used


def test_swings_and_futures_are_reported(answer: PlanAnswer) -> None:
    studies = answer.studies
    assert studies.swings is not None
    demand = next(each for each in studies.swings if each.what == "demand")
    assert demand.low_usd is not None
    assert demand.high_usd is not None
    assert demand.low_usd < answer.solve.objective_usd < demand.high_usd
    futures = studies.futures
    assert futures is not None
    assert len(futures.usd) == futures.count == 3
    assert futures.perfect_usd is None or futures.perfect_usd >= -0.01 * answer.solve.objective_usd
    assert futures.waited_months == 6
    assert studies.left_out == []


def test_time_that_is_up_is_said() -> None:
    found = make_plan(scenario(), [SCENARIO], Wanted(proof=False, studies=True, studies_limit_s=0.0, threads=1)).answer
    assert found.proof.verdict == "not proven"
    assert found.studies.left_out
    assert "No time was left for" in plan_page(found)


def test_assumptions_are_figures_with_the_sources_that_the_file_gives(made: Made) -> None:
    found = {each.what: each for each in assumptions([SCENARIO], made.built)}
    assert (found["terms.owned.capex_usd"].value, found["terms.owned.capex_usd"].source) == ("30000.0", "a quote")
    assert found["deployments.fast-api"].source == "measured from outside"
    assert "terms.owned.life_years" not in found  # it says nothing of its source
    later = "[terms.owned]\ncapex_usd = 1.0 # a '#' of ours\n"
    assert {e.what: e for e in assumptions([SCENARIO, later], made.built)}["terms.owned.capex_usd"].value == "1.0"
    assert any(each.what == "speed of h100" for each in found.values())


def test_the_page_holds_its_charts_and_every_figure_and_nothing_from_outside(answer: PlanAnswer) -> None:
    page = plan_page(answer)
    drawn = charts(page)
    titles = [chart["title"] for chart in drawn]
    assert "Cost of the best plan at each share" in titles
    assert "SLO attainment as load rises" in titles
    assert "no cloud" in titles
    for number in range(len(drawn)):
        assert f'<div id="chart-{number}"></div>' in page
    for sentence in answer_sentences(answer):
        assert sentence.split("'")[0] in page.replace("&#x27;", "'")
    for each in (*answer.offers, *answer.classes):
        assert each.name in page
    body = page[page.index("<body>") :]
    assert not re.search(r"(src|href)=", body)


def charts(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.S)
    assert found is not None
    drawn: list[dict[str, Any]] = json.loads(found[1])
    return drawn


def test_names_from_outside_are_escaped(answer: PlanAnswer) -> None:
    page = plan_page(msgspec.structs.replace(answer, scenario="<script>alert(1)</script>"))
    assert "<script>alert(1)" not in page


def test_two_plans_are_compared_figure_by_figure(answer: PlanAnswer) -> None:
    same = compare_plans(answer, answer)
    assert all(each.change == 0.0 for each in same.differences)
    dearer = SCENARIO.replace("usd_per_hour = 2.0", "usd_per_hour = 4.0")
    other = make_plan(scenario(dearer), [dearer], Wanted(proof=False, threads=1)).answer
    found = {(each.name, each.figure): each for each in compare_plans(answer, other).differences}
    total = found["", "total cost of ownership"]
    assert total.first == answer.cost.spent_usd
    assert total.second == other.cost.spent_usd
    assert total.change is not None
    assert total.change > 0.0


@pytest.mark.parametrize(
    ("value", "said"),
    [(1234.0, "$1.23 k"), (10e9, "$10 B"), (2.5e12, "$2,500 B"), (0.00123, "$0.00123"), (-5e6, "-$5 M")],
)
def test_dollars_have_three_digits(value: float, said: str) -> None:
    assert usd(value) == said


def test_numbers_in_words() -> None:
    assert (count(1.2e6), count(12.0), percent(0.1234)) == ("1.2 M", "12", "12.3 %")
