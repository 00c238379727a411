"""The token clock of the dataflow server equals a fluid simulation that counts every sequence's tokens by itself."""

from __future__ import annotations

from collections import defaultdict
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.modelserver import BLOCK_TOKENS, DataflowServer, Job, Milestone
from headrace.perf import Serving, SpeedCurve

CURVE = SpeedCurve(
    serving=Serving.DATAFLOW,
    ttft_overhead_s=0.0531,
    prefill_s_per_token=7.3e-5,
    prefill_s_per_token_squared=1.1e-9,
    step_s=(0.0, 0.0031),
    kv_s_per_token=0.0,
    max_batch=64,
    chunk_tokens=1,
    depth=3,
    kv_capacity_tokens=2400,
    power_w=None,
)
TICK_S = 0.0071931
Scripts = list[tuple[float, Job, float | None]]


@st.composite
def script_lists(draw: st.DrawFn) -> Scripts:
    scripts: Scripts = []
    now_s = 0.0
    for job_id in range(1, draw(st.integers(1, 14)) + 1):
        now_s += TICK_S * draw(st.integers(0, 20))
        later = draw(st.none() | st.integers(1, 60))
        job = Job(job_id, draw(st.integers(1, 600)), draw(st.integers(1, 120)))
        scripts.append((now_s, job, None if later is None else now_s + 1.00931 * TICK_S * later))
    return scripts


def fluid(scripts: Scripts) -> dict[int, dict[Milestone, float]]:
    """Milestones as delivered, with each sequence's remaining tokens counted down on their own."""
    due = sorted(
        [(at_s, job.job_id, True, job) for at_s, job, _ in scripts]
        + [(abort_s, job.job_id, False, job) for _, job, abort_s in scripts if abort_s is not None]
    )
    waiting: list[Job] = []
    lane: tuple[Job, float] | None = None
    left: dict[int, float] = {}
    held: dict[int, int] = {}
    jobs = {job.job_id: job for _, job, _ in scripts}
    found: dict[int, dict[Milestone, float]] = defaultdict(dict)
    now_s = 0.0
    while due or waiting or lane or left:
        token_s = CURVE.step_s[1] * max(1.0, len(left) / CURVE.depth)
        first = min(left, key=lambda job_id: (left[job_id], job_id), default=None)
        finish_s = inf if first is None else now_s + left[first] * token_s
        event_s = min(finish_s, lane[1] if lane else inf, due[0][0] if due else inf)
        left = {job_id: tokens - (event_s - now_s) / token_s for job_id, tokens in left.items()}
        now_s = event_s
        if first is not None and finish_s == event_s:
            found[first][Milestone.FINISHED] = now_s + CURVE.ttft_overhead_s
            del left[first], held[first]
        elif lane and lane[1] == event_s:
            found[lane[0].job_id][Milestone.FIRST_TOKEN] = now_s + CURVE.ttft_overhead_s
            left[lane[0].job_id] = lane[0].output_tokens - 1
            lane = None
        else:
            _, job_id, is_submit, job = due.pop(0)
            waiting = [*waiting, job] if is_submit else [other for other in waiting if other != job]
            if not is_submit:
                left.pop(job_id, None)
                held.pop(job_id, None)
                lane = None if lane and lane[0] == job else lane
        blocks = -(-(waiting[0].input_tokens + waiting[0].output_tokens) // BLOCK_TOKENS) if waiting else 0
        if waiting and lane is None and sum(held.values()) + blocks <= 2400 // BLOCK_TOKENS:
            job = waiting.pop(0)
            held[job.job_id] = blocks
            lane = (job, now_s + CURVE.prefill_s(job.input_tokens))
    for _, job, abort_s in scripts:
        marks = found[job.job_id]
        found[job.job_id] = {m: t for m, t in marks.items() if abort_s is None or t <= abort_s}
    assert jobs.keys() == found.keys()
    return found


@settings(max_examples=150, deadline=None)
@given(scripts=script_lists(), ask=st.booleans())
def test_milestones_and_tokens_equal_those_of_a_fluid_simulation(scripts: Scripts, ask: bool) -> None:
    server = DataflowServer(CURVE)
    found: dict[int, dict[Milestone, float]] = defaultdict(dict)
    produced: dict[int, int] = {}
    live: list[int] = []
    now_s = 0.0

    def advance() -> bool:
        reports = server.advance(now_s)
        for report in reports:
            found[report.job_id][report.milestone] = report.at_s
        for job_id in list(live):
            tokens = server.produced(now_s, job_id)
            marks = found[job_id]
            assert (tokens > 0) == (Milestone.FIRST_TOKEN in marks)
            if Milestone.FINISHED in marks:
                live.remove(job_id)  # an ended job can be asked about once, after the advance that ended it
            else:
                assert tokens >= produced.get(job_id, 0)
                next_s = server.token_due_s(job_id, tokens + 1)
                assert next_s is None or next_s > now_s
                last_s = server.token_due_s(job_id, tokens)
                assert last_s is None or last_s <= now_s
                produced[job_id] = tokens
        return bool(reports)

    events = [(at_s, job.job_id, True, job) for at_s, job, _ in scripts]
    events += [(abort_s, job.job_id, False, job) for _, job, abort_s in scripts if abort_s is not None]
    for at_s, job_id, is_submit, job in sorted(events):
        while ask and now_s + 0.00913 < at_s:
            now_s += 0.00913
            advance()
        now_s = at_s
        advance()
        if is_submit:
            server.submit(now_s, job)
            live.append(job_id)
        else:
            server.abort(now_s, job_id)
            if job_id in live:
                live.remove(job_id)
    while (next_s := server.next_s()) is not None:
        now_s = next_s
        assert advance(), "next_s promised a report"
    expected = fluid(scripts)
    for _, job, _ in scripts:
        assert found[job.job_id] == pytest.approx(expected[job.job_id], abs=1e-9)
    assert (server.running, server.waiting, server.kv_tokens) == (0, 0, 0)


def test_a_sequence_beyond_the_depth_slows_all_of_them_down() -> None:
    def last_s(count: int) -> float:
        server = DataflowServer(CURVE)
        for job_id in range(count):
            server.submit(0.0, Job(job_id, 1, 100))
        return max(r.at_s for r in server.advance(100.0) if r.milestone is Milestone.FINISHED)

    alone_s = CURVE.ttft_s(1) + 99 * CURVE.step_s[1]
    assert last_s(1) == pytest.approx(alone_s)
    assert last_s(3) == pytest.approx(alone_s, abs=0.001)
    assert last_s(6) == pytest.approx(CURVE.ttft_s(1) + 2 * 99 * CURVE.step_s[1], rel=0.01)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 0.2), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=20))
def test_no_job_ends_before_it_began_whatever_the_rounding(drawn: list[tuple[float, int, int]]) -> None:
    server, begun = DataflowServer(CURVE), set()
    for job_id, (at_s, input_tokens, output_tokens) in enumerate(sorted(drawn)):
        server.submit(at_s, Job(job_id, input_tokens, output_tokens))
    for report in server.advance(100.0):
        if report.milestone is Milestone.FIRST_TOKEN:
            begun.add(report.job_id)
        assert report.job_id in begun
