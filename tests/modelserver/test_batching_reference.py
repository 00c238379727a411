"""The fast-forwarding batching server equals one that is run step by step, token by token."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.modelserver import BLOCK_TOKENS, BatchingServer, Job, Milestone, Report
from headrace.perf import Serving, SpeedCurve

# Figures without common multiples, so that no event falls on a step boundary by arithmetic.
CURVE = SpeedCurve(
    serving=Serving.BATCHING,
    ttft_overhead_s=0.01737,
    prefill_s_per_token=3.1e-4,
    prefill_s_per_token_squared=2.3e-7,
    step_s=(0.0021, 0.0107, 0.0113, 0.0129, 0.0131),
    kv_s_per_token=1.7e-6,
    max_batch=4,
    chunk_tokens=96,
    depth=1,
    kv_capacity_tokens=1000,
    power_w=None,
    prefill_fixed_s=0.00417,
    ttft_overhead_s_per_token=6.1e-5,
    ttft_overhead_s_per_sequence=0.00293,
)
TICK_S = 0.0071931


class Script(NamedTuple):
    job: Job
    submit_s: float
    abort_s: float | None


def tokens_s(curve: SpeedCurve, tokens: int) -> float:
    """Prefill of so many tokens, without the fixed part, which comes with the step that completes it."""
    return curve.prefill_s(tokens) - curve.prefill_fixed_s if tokens else 0.0


class Stepwise:
    """The definition of a batching server, executed literally."""

    def __init__(self, curve: SpeedCurve, scripts: list[Script]) -> None:
        self.curve = curve
        self.due = sorted(
            [(s.submit_s, i, "submit", s.job) for i, s in enumerate(scripts)]
            + [(s.abort_s, i, "abort", s.job) for i, s in enumerate(scripts) if s.abort_s is not None],
            key=lambda event: event[:2],
        )
        self.waiting: list[Job] = []
        self.prefill: list[list[int]] = []  # [job id, done]
        self.decode: dict[int, int] = {}  # job id -> context tokens
        self.jobs = {s.job.job_id: s.job for s in scripts}
        self.tokens: dict[int, list[float]] = defaultdict(list)
        self.lag_s: dict[int, float] = {}

    def run(self) -> dict[int, list[float]]:
        """When every token of every job is delivered."""
        now_s = 0.0
        while True:
            while self.due and self.due[0][0] <= now_s:
                self.apply(*self.due.pop(0)[2:])
            self.admit()
            if self.prefill or self.decode:
                now_s = self.step(now_s)
            elif self.due:
                now_s = self.due[0][0]
            else:
                return self.tokens

    def apply(self, what: str, job: Job) -> None:
        if what == "submit":
            self.waiting.append(job)
        else:
            self.waiting = [other for other in self.waiting if other != job]
            self.prefill = [entry for entry in self.prefill if entry[0] != job.job_id]
            self.decode.pop(job.job_id, None)

    def blocks(self, job: Job) -> int:
        return -(-(job.input_tokens + job.output_tokens) // BLOCK_TOKENS)

    def admit(self) -> None:
        running = [entry[0] for entry in self.prefill] + list(self.decode)
        free = (self.curve.kv_capacity_tokens or 0) // BLOCK_TOKENS - sum(self.blocks(self.jobs[j]) for j in running)
        while self.waiting and len(running) < self.curve.max_batch and self.blocks(self.waiting[0]) <= free:
            job = self.waiting.pop(0)
            free -= self.blocks(job)
            running.append(job.job_id)
            self.prefill.append([job.job_id, 0])

    def step(self, now_s: float) -> float:
        curve, room = self.curve, self.curve.chunk_tokens
        running = len(self.decode) + len(self.prefill)
        now_s += curve.step_s[len(self.decode)] + curve.kv_s_per_token * sum(self.decode.values())
        completed = []
        for entry in self.prefill:
            chunk = min(room, self.jobs[entry[0]].input_tokens - entry[1])
            now_s += tokens_s(curve, entry[1] + chunk) - tokens_s(curve, entry[1])
            entry[1] += chunk
            room -= chunk
            if chunk and entry[1] == self.jobs[entry[0]].input_tokens:
                now_s += curve.prefill_fixed_s
                completed.append(entry)
        for job_id in self.decode:
            self.decode[job_id] += 1
            self.tokens[job_id].append(now_s + self.lag_s[job_id])
        for entry in completed:
            self.prefill.remove(entry)
            self.decode[entry[0]] = self.jobs[entry[0]].input_tokens + 1
            self.lag_s[entry[0]] = curve.overhead_s(self.jobs[entry[0]].input_tokens, running)
            self.tokens[entry[0]].append(now_s + self.lag_s[entry[0]])
        for job_id in list(self.decode):
            if len(self.tokens[job_id]) == self.jobs[job_id].output_tokens:
                del self.decode[job_id]
        return now_s


@st.composite
def script_lists(draw: st.DrawFn) -> list[Script]:
    scripts, now_s = [], 0.0
    for job_id in range(1, draw(st.integers(1, 14)) + 1):
        now_s += TICK_S * draw(st.integers(0, 40))
        job = Job(job_id, draw(st.integers(1, 500)), draw(st.integers(1, 60)))
        later = draw(st.none() | st.integers(1, 60))
        scripts.append(Script(job, now_s, None if later is None else now_s + 1.00931 * TICK_S * later))
    return scripts


class Run:
    """A server driven through scripts, asked now and then how far every job is."""

    def __init__(self, scripts: list[Script], ask_every_s: float | None) -> None:
        self.server = BatchingServer(CURVE)
        self.reports: list[Report] = []
        self.asked: list[tuple[float, int, int]] = []
        self.live: dict[int, Job] = {}
        events = [(s.submit_s, s.job.job_id, True, s.job) for s in scripts]
        events += [(s.abort_s, s.job.job_id, False, s.job) for s in scripts if s.abort_s is not None]
        now_s = 0.0
        for at_s, job_id, is_submit, job in sorted(events):
            while ask_every_s is not None and now_s + ask_every_s < at_s:
                now_s += ask_every_s
                self.advance(now_s)
                self.ask(now_s)
            now_s = at_s
            self.advance(now_s)
            if is_submit:
                self.server.submit(now_s, job)
                self.live[job_id] = job
            else:
                self.server.abort(now_s, job_id)
                self.live.pop(job_id, None)
            assert self.server.kv_tokens <= (CURVE.kv_capacity_tokens or 0)
        while (next_s := self.server.next_s()) is not None:
            assert next_s >= now_s
            assert {report.at_s for report in self.advance(next_s)} <= {next_s}, "next_s is not after the next report"
            now_s = next_s

    def advance(self, now_s: float) -> list[Report]:
        reports = self.server.advance(now_s)
        self.reports += reports
        for report in reports:
            if report.milestone is Milestone.FINISHED:
                assert self.server.produced(now_s, report.job_id) == self.live.pop(report.job_id).output_tokens
        return reports

    def ask(self, now_s: float) -> None:
        for job_id, job in self.live.items():
            produced = self.server.produced(now_s, job_id)
            self.asked.append((now_s, job_id, produced))
            next_s = self.server.token_due_s(job_id, produced + 1)
            assert next_s is None or next_s > now_s
            last_s = self.server.token_due_s(job_id, produced)
            assert last_s is None or last_s <= now_s
            assert self.server.token_due_s(job_id, job.output_tokens + 1) is None


@settings(max_examples=120, deadline=None)
@given(scripts=script_lists())
def test_milestones_equal_those_of_a_server_run_step_by_step(scripts: list[Script]) -> None:
    tokens = Stepwise(CURVE, scripts).run()
    expected = []
    for script in scripts:
        times = [t for t in tokens[script.job.job_id] if script.abort_s is None or t <= script.abort_s]
        if times:
            expected.append((times[0], script.job.job_id, Milestone.FIRST_TOKEN))
        if len(times) == script.job.output_tokens:
            expected.append((times[-1], script.job.job_id, Milestone.FINISHED))
    run = Run(scripts, None)
    found = sorted((r.job_id, r.milestone, r.at_s) for r in run.reports)
    assert [f[:2] for f in found] == [(job, mark) for job, mark, _ in sorted((j, m, t) for t, j, m in expected)]
    assert [f[2] for f in found] == pytest.approx(
        [t for _, _, t in sorted((j, m, t) for t, j, m in expected)], abs=1e-9
    )
    assert [r.at_s for r in run.reports] == sorted(r.at_s for r in run.reports)


@settings(max_examples=60, deadline=None)
@given(scripts=script_lists())
def test_tokens_produced_at_any_time_equal_those_of_a_server_run_step_by_step(scripts: list[Script]) -> None:
    tokens = Stepwise(CURVE, scripts).run()
    for now_s, job_id, produced in Run(scripts, 0.00913).asked:
        assert produced == sum(t <= now_s for t in tokens[job_id]), (now_s, job_id)


def test_busy_time_is_the_time_with_a_step_in_flight() -> None:
    server = BatchingServer(CURVE)
    server.submit(1.0, Job(1, 50, 1))
    end_s = 1.0 + CURVE.step_s[0] + CURVE.prefill_s(50)
    server.advance(1.01)
    assert server.busy_s == pytest.approx(0.01)
    server.advance(5.0)
    assert server.busy_s == pytest.approx(end_s - 1.0)
    server.submit(7.0, Job(2, 50, 1))
    server.advance(9.0)
    assert server.busy_s == pytest.approx(2 * (end_s - 1.0))
