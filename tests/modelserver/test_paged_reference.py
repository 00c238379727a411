"""The fast-forwarding paged server equals one that is run step by step, with every block in a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from paged_rig import CURVE, GROW, KV_BYTES, SETTINGS, Script, Stepwise, script_lists

from headrace.fleet import KvCache
from headrace.modelserver import BatchingServer, Job, Milestone, PagedServer, Report


class Run:
    """A server driven through scripts, asked now and then how far every job is."""

    def __init__(self, kv: KvCache, scripts: list[Script], ask_every_s: float | None) -> None:
        self.server = PagedServer(CURVE, kv, KV_BYTES)
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


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=60, deadline=None)
@given(scripts=script_lists())
def test_milestones_equal_those_of_a_server_run_step_by_step(name: str, scripts: list[Script]) -> None:
    reference = Stepwise(CURVE, SETTINGS[name], scripts)
    reference.run()
    expected = []
    for script in scripts:
        job_id = script.job.job_id
        times = [t for t in reference.tokens[job_id] if script.abort_s is None or t <= script.abort_s]
        cached = reference.cached.get(job_id, 0)
        if times:
            expected.append((job_id, Milestone.FIRST_TOKEN, cached, times[0]))
        if len(times) == script.job.output_tokens:
            expected.append((job_id, Milestone.FINISHED, cached, times[-1]))
    run = Run(SETTINGS[name], scripts, None)
    found = sorted((r.job_id, r.milestone, r.cached_input_tokens, r.at_s) for r in run.reports)
    assert [f[:3] for f in found] == [e[:3] for e in sorted(expected)]
    assert [f[3] for f in found] == pytest.approx([e[3] for e in sorted(expected)], abs=1e-9)
    assert [r.at_s for r in run.reports] == sorted(r.at_s for r in run.reports)
    assert run.server.preemptions == reference.preemptions
    assert (run.server.running, run.server.waiting, run.server.kv_tokens) == (0, 0, 0)


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=25, deadline=None)
@given(scripts=script_lists())
def test_tokens_produced_at_any_time_equal_those_of_a_server_run_step_by_step(name: str, scripts: list[Script]) -> None:
    reference = Stepwise(CURVE, SETTINGS[name], scripts)
    reference.run()
    for now_s, job_id, produced in Run(SETTINGS[name], scripts, 0.00913000317).asked:
        assert produced == sum(t <= now_s for t in reference.tokens[job_id]), (now_s, job_id)


@pytest.mark.parametrize(
    ("kv", "capacity_tokens"), [(GROW, None), (KvCache(), CURVE.kv_capacity_tokens)], ids=["room for all", "reserved"]
)
@settings(max_examples=60, deadline=None)
@given(scripts=script_lists())
def test_without_preemption_it_equals_the_batching_server(
    kv: KvCache, capacity_tokens: int | None, scripts: list[Script]
) -> None:
    curve = replace(CURVE, kv_capacity_tokens=capacity_tokens)
    assert min(curve.ttft_overhead_s, curve.ttft_overhead_s_per_token, curve.ttft_overhead_s_per_sequence) > 0.0
    events = [(s.submit_s, s.job.job_id, True, s.job) for s in scripts]
    events += [(s.abort_s, s.job.job_id, False, s.job) for s in scripts if s.abort_s is not None]
    both: list[list[Report]] = []
    for server in (BatchingServer(curve), PagedServer(curve, kv)):
        both.append([])
        for at_s, job_id, is_submit, job in sorted(events):
            both[-1] += server.advance(at_s)
            server.submit(at_s, job) if is_submit else server.abort(at_s, job_id)
        both[-1] += server.advance(1e6)
    assert [(r.job_id, r.milestone) for r in both[0]] == [(r.job_id, r.milestone) for r in both[1]]
    assert [r.at_s for r in both[0]] == pytest.approx([r.at_s for r in both[1]], abs=1e-9)
