"""Data-parallel replicas and their autoscaler."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paged_rig import CURVE, Script, script_lists

from headrace.errors import ModelRangeError
from headrace.fleet import Replicas
from headrace.modelserver import Autoscaler, BatchingServer, Job, Milestone, ModelServer, ReplicatedServer, Report

SCALED = Replicas(min_replicas=1, max_replicas=4, target_in_flight=2, start_s=0.3, interval_s=0.1, scale_down_delay_s=1)


def run(server: ModelServer, scripts: list[Script]) -> list[Report]:
    reports: list[Report] = []
    events = [(s.submit_s, s.job.job_id, True, s.job) for s in scripts]
    events += [(s.abort_s, s.job.job_id, False, s.job) for s in scripts if s.abort_s is not None]
    for at_s, job_id, is_submit, job in sorted(events):
        reports += server.advance(at_s)
        server.submit(at_s, job) if is_submit else server.abort(at_s, job_id)
    while (next_s := server.next_s()) is not None:
        reports += (new := server.advance(next_s))
        for report in new:
            if report.milestone is Milestone.FINISHED:
                wanted = next(s.job.output_tokens for s in scripts if s.job.job_id == report.job_id)
                assert server.produced(next_s, report.job_id) == wanted
    return reports


@settings(max_examples=60, deadline=None)
@given(scripts=script_lists(), count=st.integers(1, 3))
def test_a_fixed_count_equals_that_many_servers_with_the_jobs_dealt_out(scripts: list[Script], count: int) -> None:
    replicated = ReplicatedServer(lambda: BatchingServer(CURVE), Replicas(count, count))
    found = run(replicated, scripts)
    servers = [BatchingServer(CURVE) for _ in range(count)]
    at: dict[int, int] = {}
    expected: list[Report] = []
    events = [(s.submit_s, s.job.job_id, True, s.job) for s in scripts]
    events += [(s.abort_s, s.job.job_id, False, s.job) for s in scripts if s.abort_s is not None]
    for at_s, job_id, is_submit, job in [*sorted(events), (1e6, 0, False, None)]:
        for server in servers:
            expected += (reports := server.advance(at_s))
            for report in reports:
                if report.milestone is Milestone.FINISHED:
                    del at[report.job_id]
        if is_submit:
            at[job_id] = min(range(count), key=lambda index: list(at.values()).count(index))
            servers[at[job_id]].submit(at_s, job)
        elif job_id in at:
            servers[at.pop(job_id)].abort(at_s, job_id)
    key = [(r.at_s, r.job_id, r.milestone) for r in expected]
    assert sorted((r.at_s, r.job_id, r.milestone) for r in found) == sorted(key)
    assert replicated.advance(1e6) == []
    assert replicated.busy_s == pytest.approx(sum(server.busy_s for server in servers))


@settings(max_examples=60, deadline=None)
@given(scripts=script_lists())
def test_scaling_loses_nobody_and_stays_within_its_bounds(scripts: list[Script]) -> None:
    started: list[BatchingServer] = []

    def start() -> BatchingServer:
        started.append(BatchingServer(CURVE))
        return started[-1]

    server = ReplicatedServer(start, SCALED)
    reports = run(server, scripts)
    finished = [r.job_id for r in reports if r.milestone is Milestone.FINISHED]
    assert len(finished) == len(set(finished))
    assert set(finished) >= {s.job.job_id for s in scripts if s.abort_s is None}
    end_s = max([s.abort_s or s.submit_s for s in scripts] + [r.at_s for r in reports])
    there_s = server.replica_s(end_s)
    assert end_s - 1e-9 <= there_s <= SCALED.max_replicas * end_s + 1e-9
    assert server.busy_s <= there_s + 1e-9
    server.advance(end_s + 2 * SCALED.scale_down_delay_s)
    assert (server.replicas, server.running, server.waiting) == (1, 0, 0)
    assert server.busy_s == pytest.approx(sum(each.busy_s for each in started))


@given(loads=st.lists(st.tuples(st.floats(0.01, 1.0), st.integers(0, 12)), min_size=1, max_size=40))
def test_the_autoscaler_wants_the_most_that_was_needed_within_the_delay(loads: list[tuple[float, int]]) -> None:
    scaler, now_s, needed = Autoscaler(SCALED), 0.0, []
    for gap_s, in_flight in loads:
        now_s += gap_s
        needed.append((now_s, min(max(ceil(in_flight / 2), 1), 4)))
        assert scaler.desired(now_s, in_flight) == max(n for at_s, n in needed if at_s >= now_s - 1)


def test_a_new_replica_takes_jobs_when_it_has_started() -> None:
    server = ReplicatedServer(lambda: BatchingServer(CURVE), replace(SCALED, scale_down_delay_s=9.0))
    for job_id in range(1, 6):
        server.submit(0.0, Job(job_id, 10, 100))
    assert (server.replicas, server.waiting) == (1, 0)
    server.submit(0.15, Job(6, 10, 100))
    assert (server.replicas, server.waiting) == (3, 1), "five jobs in flight at 0.1 s want three"
    server.submit(0.45, Job(7, 10, 100))
    assert server.waiting == 1, "the new ones have started by 0.4 s"
    assert {r.job_id for r in server.advance(60.0) if r.milestone is Milestone.FINISHED} == set(range(1, 8))


def test_bounds_that_are_no_range_are_refused() -> None:
    for least, most in ((0, 1), (3, 2)):
        with pytest.raises(ModelRangeError, match="no range"):
            ReplicatedServer(lambda: BatchingServer(CURVE), Replicas(least, most))
