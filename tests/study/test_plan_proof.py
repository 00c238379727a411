"""A plan is held to its word by simulation; one that cannot keep it is tightened, and what is still missed is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_rig import planned, scenario, solved

from headrace.fleet.scenario import ProofSettings
from headrace.plan.build import Built
from headrace.plan.problem import Problem
from headrace.plan.solution import Solution
from headrace.plan.vary import without, without_limit
from headrace.study.plan.findings import wilson
from headrace.study.plan.fleet import busiest_period
from headrace.study.plan.proof import TIGHTER, Proven, prove
from headrace.study.plan.trial import loss_trials, peak_trial, planned_latency, planned_usd_per_h, run_trial


@pytest.fixture(scope="module")
def proven() -> Proven:
    return prove(*planned(), solved)


def with_proof(built: Built, **settings: float) -> Built:
    proof = replace(built.scenario.proof, **settings)  # type: ignore[arg-type]
    return replace(built, scenario=replace(built.scenario, proof=proof))


def test_a_plan_that_keeps_its_word_is_shown_as_it_was_solved(proven: Proven) -> None:
    assert proven.proof.verdict == "kept"
    assert [each.missed for each in proven.proof.rounds] == [[]]
    assert proven.solution is planned()[1]
    assert [run.kind for run in proven.proof.runs] == ["peak", "loss", "bad_day"]


def test_every_request_of_a_run_is_judged_once(proven: Proven) -> None:
    for run in proven.proof.runs:
        assert 0 < sum(each.requests for each in run.classes) <= run.requests
        assert len(run.steps) == 24
        for each in run.classes:
            if each.attainment is not None:
                assert 0.0 <= each.attainment.low <= each.attainment.value <= each.attainment.high <= 1.0 + 1e-12


def test_a_run_is_the_same_again() -> None:
    built, plan = planned()
    period = busiest_period(built.problem)
    first, second = (run_trial(built, plan, period, peak_trial(built)) for _ in range(2))
    assert first == second


def test_money_of_the_peak_is_planned_and_simulated(proven: Proven) -> None:
    built, plan = planned()
    period = busiest_period(built.problem)
    held, added, _ = planned_usd_per_h(built, plan, period)
    peak = proven.proof.runs[0]
    assert peak.planned_usd_per_h == pytest.approx(held + added)
    assert peak.usd_per_h is not None
    assert peak.usd_per_h >= held  # what is held is paid, whatever traffic does
    assert peak.usd_per_h == pytest.approx(held + added, rel=0.25)


def test_a_loss_holds_what_may_be_dropped_back_and_what_broke_goes_on_elsewhere(proven: Proven) -> None:
    loss = proven.proof.runs[1]
    found = {each.workload_class: each for each in loss.classes}
    assert loss.lost == ["rent"]
    assert loss.cut == 0
    assert (found["batch"].requests, found["batch"].promised) == (0, None)
    assert found["chat"].promised == 0.95


def test_only_losses_of_what_is_there_are_simulated() -> None:
    """At night the plan rents nothing, so nothing of the cloud can be lost."""
    built, plan = planned()
    night = 1 - busiest_period(built.problem)
    assert plan.units[1, night] == 0.0
    assert loss_trials(built, plan, night) == []
    assert len(loss_trials(built, plan, busiest_period(built.problem))) == 1


def test_a_large_plan_is_thinned_to_what_may_be_simulated() -> None:
    built, plan = planned()
    small = with_proof(built, max_requests=500)
    run = run_trial(small, plan, busiest_period(built.problem), peak_trial(small))
    assert run.fraction == pytest.approx(0.27, abs=0.03)
    assert run.requests == pytest.approx(500, rel=0.2)
    assert any("own" in note for note in run.notes)


def test_a_plan_that_breaks_its_word_is_tightened_and_says_what_is_still_missed() -> None:
    """Replicas that are thought ten times as fast as they are, and no API to spill to: the rounds are used up."""
    built, _ = planned()
    alone = without_limit(without(built.problem, {"fast"}), "fast share")
    fast = replace(built, problem=_faster(alone, 10.0))
    asked: list[Problem] = []

    def watched(problem: Problem) -> Solution:
        asked.append(problem)
        return solved(problem)

    found = prove(fast, solved(fast.problem), watched)
    assert found.proof.verdict == "missed"
    assert len(found.proof.rounds) == 2
    assert found.proof.rounds[-1].missed
    assert "rounds are used up" in found.proof.note
    first = found.proof.rounds[0]
    for name, most in first.tightened.items():
        before = next((c.utilization for c in fast.problem.candidates if c.name == name), 1.0)
        assert most == pytest.approx(before * TIGHTER)
    assert len(asked) == 1
    assert found.built.problem is asked[0]


def _faster(problem: Problem, factor: float) -> Problem:
    candidates = []
    for candidate in problem.candidates:
        uses = {
            j: replace(use, unit_s=use.unit_s / factor, degraded_unit_s=(use.degraded_unit_s or 0.0) / factor)
            for j, use in candidate.uses.items()
        }
        candidates.append(replace(candidate, uses=uses))
    return replace(problem, candidates=tuple(candidates))


def test_planned_latencies_are_weighted_by_requests() -> None:
    built, plan = planned()
    everywhere = range(len(built.problem.periods))
    found = planned_latency(built, plan, everywhere, "batch")
    (cell,) = [j for j, each in enumerate(built.problem.cells) if each.workload_class == "batch"]
    times = [candidate.uses[cell].e2e_s for candidate in built.problem.candidates if cell in candidate.uses]
    assert found is not None
    assert min(times) <= found[2] <= max(times) + 1e-9


def test_the_interval_is_wilsons() -> None:
    """9 of 10: 0.596 to 0.982 (Wilson 1927; Newcombe 1998, table I, method 3)."""
    found = wilson(9, 10)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.9, pytest.approx(0.596, abs=1e-3), pytest.approx(0.982, abs=1e-3))
    assert wilson(0, 0) is None


def test_proof_settings_have_limits_by_default() -> None:
    assert ProofSettings().max_requests == 20_000
    assert scenario().proof.rounds == 1
