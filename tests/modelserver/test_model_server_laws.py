"""Laws of every model server, under random jobs and aborts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.config import load_fleet
from headrace.modelserver import Job, Milestone, ModelServer, Report, model_server
from headrace.perf import SpeedCurve, speed_curve

SAMPLE = load_fleet()
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CURVES = {name: speed_curve(SAMPLE.pools[name].deployment) for name in ("h100", "groq", "inferentia2")}
CURVES["hosted"] = speed_curve(load_fleet(EXAMPLES / "azure-acceptance.toml").pools["gpu"].deployment)

jobs = st.lists(
    st.tuples(st.floats(0.0, 0.5), st.integers(1, 4000), st.integers(1, 300), st.booleans()), min_size=1, max_size=25
)
Script = list[tuple[float, int, int, bool]]


def run(curve: SpeedCurve, script: Script, hop_s: float | None) -> tuple[list[Report], ModelServer]:
    """Submit, abort and advance, in one hop per event or in many small ones; then run everything to its end."""
    server = model_server(curve)
    now_s, reports = 0.0, []
    for job_id, (gap_s, input_tokens, output_tokens, abort) in enumerate(script, start=1):
        due_s = now_s + gap_s
        while hop_s is not None and now_s + hop_s < due_s:
            now_s += hop_s
            reports += server.advance(now_s)
        now_s = due_s
        reports += server.advance(now_s)
        server.submit(now_s, Job(job_id, input_tokens, output_tokens))
        if abort and job_id > 1:
            server.abort(now_s, job_id - 1)
    while (next_s := server.next_s()) is not None:
        now_s = max(now_s, next_s)
        reports += server.advance(now_s)
    return reports, server


@pytest.mark.parametrize("name", sorted(CURVES))
@settings(max_examples=25, deadline=None)
@given(script=jobs)
def test_every_job_ends_at_most_once_in_order_and_frees_what_it_held(name: str, script: Script) -> None:
    reports, server = run(CURVES[name], script, None)
    assert [r.at_s for r in reports] == sorted(r.at_s for r in reports)
    aborted = {job_id - 1 for job_id, job in enumerate(script, start=1) if job[3] and job_id > 1}
    for job_id in range(1, len(script) + 1):
        milestones = [r.milestone for r in reports if r.job_id == job_id]
        whole = [Milestone.FIRST_TOKEN, Milestone.FINISHED]
        assert milestones == whole if job_id not in aborted else milestones == whole[: len(milestones)]
    assert (server.running, server.waiting, server.kv_tokens) == (0, 0, 0)


@pytest.mark.parametrize("name", sorted(CURVES))
@settings(max_examples=15, deadline=None)
@given(script=jobs)
def test_many_small_hops_equal_one_big_hop(name: str, script: Script) -> None:
    big, _ = run(CURVES[name], script, None)
    small, _ = run(CURVES[name], script, 0.0137)
    assert [(r.job_id, r.milestone) for r in big] == [(r.job_id, r.milestone) for r in small]
    assert [r.at_s for r in big] == pytest.approx([r.at_s for r in small], rel=1e-9, abs=1e-9)
