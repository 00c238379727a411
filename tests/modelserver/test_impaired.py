"""A slow server is the same server on a slow clock, whatever kind of server it is."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import BackendError
from headrace.fleet import Deployment, KvCache, KvPolicy, OperatingPoint, Replicas, catalog
from headrace.modelserver import ImpairedServer, Job, ModelServer, Report, model_server, replica_s
from headrace.perf import speed_curve

MODEL = next(each for each in catalog.models() if each.name == "llama-3.1-8b")
CHIPS = {each.name: each for each in catalog.accelerators()}
KINDS = {
    "batching": Deployment("d", MODEL, CHIPS["H100"], max_batch=3),
    "paged": Deployment("d", MODEL, CHIPS["H100"], max_batch=3, kv_cache=KvCache(KvPolicy.GROW)),
    "replicas": Deployment("d", MODEL, CHIPS["H100"], max_batch=3, replicas=Replicas(2, 2)),
    "dataflow": Deployment("d", MODEL, CHIPS["LPU"], count=256),
    "hosted": Deployment("d", MODEL, observed=OperatingPoint(0.2, 5000.0, 0.005)),
}
JOBS = st.lists(
    st.tuples(st.floats(0.0, 1.0), st.integers(1, 3000), st.integers(1, 300)), min_size=1, max_size=12
)  # fmt: skip


def reports(server: ModelServer, jobs: list[tuple[float, Job]]) -> list[Report]:
    """Everything that a driver is told, which asks when it should."""
    found: list[Report] = []
    arrivals = list(jobs)
    while arrivals or server.next_s() is not None:
        next_s = server.next_s()
        if arrivals and (next_s is None or arrivals[0][0] <= next_s):
            at_s, job = arrivals.pop(0)
            found += server.advance(at_s)
            server.submit(at_s, job)
        elif next_s is not None:
            found += server.advance(next_s)
    return found


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(rows=JOBS, factor=st.floats(1.0, 100.0))
def test_everything_comes_later_by_the_factor(kind: str, rows: list[tuple[float, int, int]], factor: float) -> None:
    deployment = KINDS[kind]
    curve = speed_curve(deployment)
    times_s = accumulate(gap_s for gap_s, _, _ in rows)
    jobs = [(at_s, Job(number, *row[1:])) for number, (at_s, row) in enumerate(zip(times_s, rows, strict=True))]
    plain, slow = model_server(curve, deployment), ImpairedServer(model_server(curve, deployment))
    slow.slow(0.0, factor)
    expected = sorted(reports(plain, jobs), key=lambda r: (r.job_id, r.milestone))
    found = sorted(reports(slow, [(at_s * factor, job) for at_s, job in jobs]), key=lambda r: (r.job_id, r.milestone))
    assert [(r.job_id, r.milestone) for r in found] == [(r.job_id, r.milestone) for r in expected]
    assert [r.at_s for r in found] == pytest.approx([r.at_s * factor for r in expected], rel=1e-6)
    assert slow.busy_s == pytest.approx(plain.busy_s * factor, rel=1e-6)
    end_s = max(r.at_s for r in expected)
    assert replica_s(slow, end_s * factor * 2) == pytest.approx(replica_s(plain, end_s * 2) * factor)


@settings(max_examples=50, deadline=None)
@given(rows=JOBS, changes=st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(1.0, 1e4)), max_size=6))
def test_a_clock_that_changes_its_pace_never_goes_back_and_loses_nothing(
    rows: list[tuple[float, int, int]], changes: list[tuple[float, float]]
) -> None:
    deployment = KINDS["batching"]
    server = ImpairedServer(model_server(speed_curve(deployment), deployment))
    times_s = accumulate(gap_s for gap_s, _, _ in rows)
    jobs = [(at_s, Job(number, *row[1:])) for number, (at_s, row) in enumerate(zip(times_s, rows, strict=True))]
    found: list[Report] = []
    for at_s, factor in zip(accumulate(gap_s for gap_s, _ in changes), (f for _, f in changes), strict=True):
        due = [each for each in jobs if each[0] <= at_s]
        jobs = jobs[len(due) :]
        for submit_s, job in due:
            found += server.advance(submit_s)
            server.submit(submit_s, job)
        found += server.advance(at_s)
        server.slow(at_s, factor)
    found += reports(server, jobs)
    assert len(found) == 2 * len(rows)
    assert [r.at_s for r in found] == sorted(r.at_s for r in found)


def test_who_is_out_of_reach_takes_no_job() -> None:
    deployment = KINDS["hosted"]
    server = ImpairedServer(model_server(speed_curve(deployment), deployment))
    server.reachable = False
    with pytest.raises(BackendError, match="connection refused"):
        server.submit(0.0, Job(1, 10, 10))
    assert server.next_s() is None
