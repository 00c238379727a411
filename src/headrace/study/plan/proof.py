"""No plan is shown before it was simulated; one that breaks its word is tightened and solved again.

    round: simulate the busiest period (load rising to its peak) and every loss that a rule names
           a class that misses what was promised, by more than chance would: of what carries it, less may be used
           solve again, with that

Where a peak was missed, the `utilization` of the offers that carry the class falls; after a loss, that of what is left.
The last plan is shown whatever came of it, with every round, and what it still misses. It is a proof in a simulator:
the policy engine is the gateway's own, speeds are those that the plan counted on, and traffic is drawn from the plan's
own demand. What it adds are queues, bursts, mixed sizes in one batch, the time a loss takes to be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from headrace.errors import InfeasiblePlan, NoPlanInTime
from headrace.plan.build import Built
from headrace.plan.problem import Problem
from headrace.plan.solution import Solution
from headrace.study.plan.findings import Proof, Round, RunFinding
from headrace.study.plan.fleet import busiest_period
from headrace.study.plan.trial import Trial, bad_day_trial, loss_trials, peak_trial, run_trial

TIGHTER = 0.9  # of what may be used, from a round that missed to the next
LOWEST = 0.2  # of what could be used at first: what does not keep its word then will not for lack of room

Solve = Callable[[Problem], Solution]
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Proven:
    """A plan and how it did; `built` holds the problem as it was tightened."""

    built: Built
    solution: Solution
    proof: Proof


def prove(built: Built, solution: Solution, solve: Solve, told: Told = lambda _: None) -> Proven:
    """Simulate a plan and, where it breaks its word, tighten it and solve again.

    Args:
        solve: solves the tightened problem.
        told: hears what is being done.
    """
    rounds: list[Round] = []
    note = ""
    period = busiest_period(built.problem)
    for number in range(built.scenario.proof.rounds + 1):
        runs = _runs(built, solution, period, told)
        missed = [f"{run.name}: {name}" for run in runs for name in run.missed]
        problem, tightened = _tightened(built, solution, period, runs)
        if not missed or not tightened or number == built.scenario.proof.rounds:
            rounds.append(Round(solution.money.spent_usd, missed))
            note = _note(missed, tightened)
            break
        rounds.append(Round(solution.money.spent_usd, missed, tightened))
        told(f"{', '.join(missed)} missed; tightening and solving again")
        try:
            solution = solve(problem)
        except (InfeasiblePlan, NoPlanInTime) as error:
            note = f"a tighter plan was not found: {error}"
            break
        built = replace(built, problem=problem)
    told("simulating a bad day")
    runs.append(run_trial(built, solution, period, bad_day_trial(built)))
    verdict = "missed" if missed else "kept"
    return Proven(built, solution, Proof(verdict, rounds, runs, built.problem.periods[period].name, note))


def _runs(built: Built, solution: Solution, period: int, told: Told) -> list[RunFinding]:
    trials: list[Trial] = [peak_trial(built), *loss_trials(built, solution, period)]
    found = []
    for trial in trials:
        told(f"simulating {trial.name}")
        found.append(run_trial(built, solution, period, trial))
    return found


def _note(missed: Iterable[str], tightened: dict[str, float]) -> str:
    if not list(missed):
        return ""
    if not tightened:
        return "what misses is carried by APIs alone, or by capacity that is nearly empty: more room would not help"
    return "the rounds are used up"


def _tightened(
    built: Built, solution: Solution, period: int, runs: Iterable[RunFinding]
) -> tuple[Problem, dict[str, float]]:
    """The problem with less to be used of what missed, and the new utilizations by name."""
    problem = built.problem
    slack = {run.name for run in runs if run.kind == "loss" and run.missed}
    short = {name for run in runs if run.kind == "peak" for name in run.missed}
    changed: dict[str, float] = {}
    candidates = []
    for k, candidate in enumerate(problem.candidates):
        new = candidate.utilization * TIGHTER
        carries = any(
            solution.flow[j, k, period] > 0.0 and problem.cells[j].workload_class in short for j in candidate.uses
        )
        if carries and not candidate.by_token and new >= LOWEST * built.offer(k).utilization:
            changed[candidate.name] = new
            candidate = replace(candidate, utilization=new)
        candidates.append(candidate)
    survivals = []
    for survival in problem.survivals:
        new = survival.utilization * TIGHTER
        if survival.name in slack and new >= LOWEST:
            changed[survival.name] = new
            survival = replace(survival, utilization=new)
        survivals.append(survival)
    return replace(problem, candidates=tuple(candidates), survivals=tuple(survivals)), changed
