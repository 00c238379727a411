"""One simulation of a plan: its fleet and the traffic of its busiest period, thinned alike, by the production policy.

    peak     load rises to the planned peak, stays there (that stretch is judged), and rises on to `proof.load`
    loss     at the planned peak, what a survival names goes down; from then on only the promised part of each class
             comes (whoever runs it turns the rest away), and the degraded thresholds hold; all that comes is judged
    bad day  `proof.bad_day` planned peaks from beginning to end: nothing is promised, what becomes of it is shown

Replicas on spot terms are taken away and come back, in every run, as often as their terms say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from headrace.fleet import Down, Fleet, Incident, Limits, ThinnedPool, limited_to, thinned
from headrace.fleet.terms import Rented
from headrace.metrics import RunMetrics
from headrace.plan.build import Built
from headrace.plan.mixture import latencies
from headrace.plan.problem import Survival
from headrace.plan.solution import Solution
from headrace.rng import stream
from headrace.sim import simulate
from headrace.study.plan.findings import ClassFinding, LoadStep, RunFinding, ShareFinding, wilson
from headrace.study.plan.fleet import held, planned_fleet
from headrace.study.plan.traffic import Course, planned_traffic, warm_up_s
from headrace.study.plan.watch import RunWatch, Stretch, quantiles
from headrace.units import SECONDS_PER_HOUR

SLICES = 24
RISE, FALL = 0.25, 0.75  # parts of a run: when the planned peak is reached, and when load goes beyond it
START = 0.5  # planned peaks at the start of a run
WARM_UP = 0.1  # of a bad day that is not judged


@dataclass(frozen=True, slots=True)
class Trial:
    """A run that is to be made.

    Attributes:
        survival: what is lost; None: nothing.
        judged: the stretch that is judged.
        promised: by class, the attainment; missing: nothing is promised.
    """

    kind: str
    name: str
    course: Course
    judged: Stretch
    load: float
    promised: dict[str, float]
    survival: Survival | None = None

    @property
    def lost_at_s(self) -> float | None:
        """When it is lost."""
        return None if self.survival is None else self.judged.from_s


def peak_trial(built: Built) -> Trial:
    """Load rising through the planned peak."""
    settings = built.scenario.proof
    duration_s, most = settings.duration_s, max(1.0, settings.load)
    times, loads = [0.0, RISE * duration_s, FALL * duration_s, duration_s], [START, 1.0, 1.0, most]

    def load(name: str, at_s: float) -> float:
        return float(np.interp(at_s, times, loads))

    judged = Stretch(RISE * duration_s, FALL * duration_s)
    return Trial("peak", "busiest hours", Course(duration_s, load, most), judged, 1.0, _attainments(built))


def loss_trial(built: Built, survival: Survival) -> Trial:
    """The planned peak, and a loss in it."""
    duration_s = built.scenario.proof.duration_s
    lost_at_s = RISE * duration_s

    def load(name: str, at_s: float) -> float:
        return 1.0 if at_s < lost_at_s else survival.level.get(name, 0.0)

    promised = {name: level for name, level in _attainments(built).items() if survival.level.get(name, 0.0) > 0.0}
    judged = Stretch(lost_at_s, duration_s)
    return Trial("loss", survival.name, Course(duration_s, load, 1.0), judged, 1.0, promised, survival)


def bad_day_trial(built: Built) -> Trial:
    """More demand than was planned for."""
    settings = built.scenario.proof
    course = Course(settings.duration_s, lambda name, at_s: settings.bad_day, settings.bad_day)
    judged = Stretch(WARM_UP * settings.duration_s, settings.duration_s)
    return Trial("bad_day", "a bad day", course, judged, settings.bad_day, {})


def loss_trials(built: Built, solution: Solution, period: int) -> list[Trial]:
    """One for each loss that takes something which the plan uses then, or holds: any other changes nothing."""
    used = {
        one.supply.name
        for one in held(built, solution, period)
        if not built.problem.candidates[one.index].by_token or solution.flow[:, one.index, period].any()
    }
    return [loss_trial(built, each) for each in built.problem.survivals if used & each.lost]


def run_trial(built: Built, solution: Solution, period: int, trial: Trial) -> RunFinding:
    """Simulate it."""
    settings = built.scenario.proof
    fraction = _fraction(built, period, trial.course)
    fleet, pools = _thinned(planned_fleet(built, solution, period), fraction)
    start_s = warm_up_s(built)
    watch = RunWatch(built.scenario.classes, trial.course.duration_s, SLICES, trial.judged, trial.lost_at_s, start_s)
    requests = planned_traffic(built, solution, period, trial.course, fraction, settings.seed, start_s=start_s)
    incidents = limited_to(
        (
            *_loss(built, solution, period, trial, start_s),
            *_interruptions(built, solution, period, start_s + trial.course.duration_s, settings.seed),
        ),
        frozenset(backend.name for backend in fleet.backends),
    )
    result = simulate(fleet, requests, seed=settings.seed, incidents=incidents, on_request=watch)
    finding = RunFinding(
        trial.kind,
        trial.name,
        trial.load,
        trial.course.duration_s,
        fraction,
        watch.requests,
        [_class_finding(built, solution, period, trial, watch, one.name) for one in built.scenario.classes],
        _steps(trial, watch),
        _shares(fleet, result.metrics),
        notes=[_rounded(pool) for pool in pools if abs(pool.excess - 1.0) > 1e-9],
    )
    if trial.survival is not None:
        return _with_loss(finding, trial, trial.survival, watch)
    return _with_cost(finding, built, solution, period, trial, watch, fraction) if trial.load == 1.0 else finding


def _attainments(built: Built) -> dict[str, float]:
    return {one.name: one.workload_class.slo.attainment for one in built.scenario.classes}


def _fraction(built: Built, period: int, course: Course) -> float:
    """Part of the traffic that keeps the run within `proof.max_requests`."""
    at_s = np.linspace(0.0, course.duration_s, SLICES + 1)
    requests = 0.0
    for one in built.scenario.classes:
        rate = sum(c.rate_per_s[period] for c in built.problem.cells if c.workload_class == one.name)
        requests += rate * float(np.trapezoid([course.load(one.name, float(t)) for t in at_s], at_s))
    return min(1.0, built.scenario.proof.max_requests / requests) if requests > 0.0 else 1.0


def _thinned(fleet: Fleet, fraction: float) -> tuple[Fleet, tuple[ThinnedPool, ...]]:
    """A fraction of the fleet, of the retries that a loss would take, and of the prompts that are remembered."""
    if fraction >= 1.0:
        return fleet, ()
    (thin, pools), usual = thinned(fleet, fraction), Limits()
    limits = replace(
        thin.limits,
        retry_burst=max(usual.retry_burst, round(fleet.limits.retry_burst * fraction)),
        prefix_index_entries=max(usual.prefix_index_entries, round(fleet.limits.prefix_index_entries * fraction)),
    )
    return replace(thin, limits=limits), pools


def _loss(built: Built, solution: Solution, period: int, trial: Trial, start_s: float) -> Iterator[Incident]:
    if trial.survival is not None and trial.lost_at_s is not None:
        lost = [one for one in held(built, solution, period) if one.supply.name in trial.survival.lost]
        names = tuple(f"{one.pool}-{number}" for one in lost for number in range(1, one.units + 1))
        yield Down(backends=names, from_s=start_s + trial.lost_at_s)


def _interruptions(built: Built, solution: Solution, period: int, until_s: float, seed: int) -> Iterator[Incident]:
    """Spot replicas go at random, and come back."""
    for one in held(built, solution, period):
        terms = one.supply.offer.terms
        if not isinstance(terms, Rented) or not terms.interruptions_per_hour:
            continue
        for number in range(1, one.units + 1):
            name = f"{one.pool}-{number}"
            random, at_s = stream(seed, f"plan.spot.{name}"), 0.0
            while (at_s := at_s + random.expovariate(terms.interruptions_per_hour / SECONDS_PER_HOUR)) < until_s:
                yield Down(backends=(name,), from_s=at_s, to_s=at_s + terms.recover_s)


def _class_finding(
    built: Built, solution: Solution, period: int, trial: Trial, watch: RunWatch, name: str
) -> ClassFinding:
    seen = watch.classes[name]
    attainment, promised = wilson(seen.judged_met, seen.judged), trial.promised.get(name)
    kept = attainment is None or promised is None or attainment.high >= promised
    ttft_s, tpot_s, e2e_s = (quantiles(one) for one in (seen.latency.ttft, seen.latency.tpot, seen.latency.e2e))
    planned = planned_latency(built, solution, [period], name) if trial.survival is None else None
    expected = planned or (None, None, None)
    return ClassFinding(name, seen.judged, attainment, promised, kept, ttft_s, tpot_s, e2e_s, *expected)


def planned_latency(
    built: Built, solution: Solution, periods: Sequence[int], name: str
) -> tuple[float, float, float] | None:
    """Mean TTFT, TPOT and E2E of a class's requests over some periods, as the plan expects them; None of none."""
    hours = np.array([built.problem.periods[p].hours for p in periods])
    own = [j for j, cell in enumerate(built.problem.cells) if cell.workload_class == name]
    totals, requests = np.zeros(3), 0.0
    for k in range(len(built.problem.candidates)):
        weights = solution.flow[own][:, k, list(periods)] * hours
        if weights.any():
            found = latencies(built, solution, k, periods)
            totals += [float((each[own] * weights).sum()) for each in (found.ttft_s, found.tpot_s, found.e2e_s)]
            requests += float(weights.sum())
    if requests <= 0.0:
        return None
    ttft_s, tpot_s, e2e_s = (totals / requests).tolist()
    return ttft_s, tpot_s, e2e_s


def _steps(trial: Trial, watch: RunWatch) -> list[LoadStep]:
    """Slices of the run; where a vendor is lost the classes' loads differ, and the load is that of the first."""
    slice_s = trial.course.duration_s / SLICES
    first = next(iter(watch.classes))
    return [
        LoadStep(
            trial.course.load(first, (number + 0.5) * slice_s),
            {
                name: seen.met[number] / seen.arrived[number] if seen.arrived[number] else None
                for name, seen in watch.classes.items()
            },
        )
        for number in range(SLICES)
    ]


def _shares(fleet: Fleet, metrics: RunMetrics) -> list[ShareFinding]:
    return [
        ShareFinding(name, share.of.value, share.target, metrics.shares[name].realized)
        for name, share in fleet.shares.items()
    ]


def _rounded(pool: ThinnedPool) -> str:
    return f"{pool.name}: {pool.exact:.3g} units taken as {pool.kept}, {pool.excess:.3g} times what it stands for"


def _with_loss(finding: RunFinding, trial: Trial, survival: Survival, watch: RunWatch) -> RunFinding:
    lost = sorted(survival.lost)
    return msgspec.structs.replace(finding, lost=lost, lost_at_s=trial.lost_at_s, cut=watch.cut)


def _with_cost(
    finding: RunFinding,
    built: Built,
    solution: Solution,
    period: int,
    trial: Trial,
    watch: RunWatch,
    fraction: float,
) -> RunFinding:
    """Capacity is paid as planned; what requests add was simulated."""
    capacity, planned, waiting = planned_usd_per_h(built, solution, period)
    to_hours = SECONDS_PER_HOUR / fraction / trial.judged.duration_s
    return msgspec.structs.replace(
        finding,
        planned_usd_per_h=capacity + planned,
        usd_per_h=capacity + watch.cost_usd * to_hours,
        planned_waiting_usd_per_h=waiting,
        waiting_usd_per_h=watch.waiting_usd * to_hours,
    )


def planned_usd_per_h(built: Built, solution: Solution, period: int) -> tuple[float, float, float]:
    """USD of an hour of the period: of what is held, of what requests add, and the value of their users' time."""
    stage = built.problem.periods[period].stage
    held_usd = added_usd = waiting_usd = 0.0
    for k, candidate in enumerate(built.problem.candidates):
        if not candidate.by_token:
            held_usd += float(solution.units[k, period]) * candidate.usd_per_unit_hour[stage]
        e2e_s = latencies(built, solution, k, [period]).e2e_s[:, 0]
        for j, use in candidate.uses.items():
            requests = float(solution.flow[j, k, period]) * SECONDS_PER_HOUR
            added_usd += requests * use.usd
            waiting_usd += requests * float(e2e_s[j]) * built.problem.cells[j].value_of_time_usd_per_s
    return held_usd, added_usd, waiting_usd
