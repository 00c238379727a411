"""A lost accelerator takes the replica and its jobs; a spare brings the replica back."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_dataflow_reference import CURVE

from headrace.errors import CapacityError
from headrace.fleet import Spares
from headrace.modelserver import DataflowServer, FragileServer, Job, Milestone

STEPS = st.lists(st.tuples(st.floats(0.01, 30.0), st.sampled_from(["job", "job", "abort", "loss"])), max_size=40)


@settings(max_examples=150, deadline=None)
@example(steps=[(1.0, "job"), (0.625, "abort")], count=0, recover_s=0.0, repair_s=0.0)  # computed, not yet delivered
@given(steps=STEPS, count=st.integers(0, 2), recover_s=st.floats(0.0, 20.0), repair_s=st.floats(0.0, 100.0))
def test_every_job_ends_once_and_accelerators_add_up(
    steps: list[tuple[float, str]], count: int, recover_s: float, repair_s: float
) -> None:
    server = FragileServer(lambda: DataflowServer(CURVE), Spares(count, recover_s, repair_s))
    ended: list[int] = []
    live: set[int] = set()
    submitted = aborted = 0
    now_s = 0.0
    for job_id, (gap_s, what) in enumerate(steps, start=1):
        now_s += gap_s
        ended += [r.job_id for r in server.advance(now_s) if r.milestone is Milestone.FINISHED]
        live.difference_update(ended)
        if what == "loss":
            lost = server.lose_accelerator(now_s)
            ended += lost
            live.difference_update(lost)
            assert (server.running, server.waiting, server.next_s(), server.kv_tokens) == (0, 0, None, 0)
            assert all(server.produced(now_s, each) == 0 for each in lost)
            assert server.up_s >= now_s + recover_s
        elif what == "abort":
            server.abort(now_s, job_id - 1)
            aborted += job_id - 1 in live
            live.discard(job_id - 1)
        else:
            if now_s >= server.up_s:
                server.submit(now_s, Job(job_id, 100, 200))
                submitted += 1
                live.add(job_id)
            else:
                with pytest.raises(CapacityError) as refused:
                    server.submit(now_s, Job(job_id, 100, 200))
                assert refused.value.retry_after_s == pytest.approx(server.up_s - now_s)
        assert 0 <= server.spares <= count
    ended += [r.job_id for r in server.advance(now_s + 1e5) if r.milestone is Milestone.FINISHED]
    assert len(ended) == len(set(ended)) == submitted - aborted
    assert server.spares == count, "all are repaired by then"


def test_a_spare_serves_after_recovery_and_without_one_after_the_repair() -> None:
    server = FragileServer(lambda: DataflowServer(CURVE), Spares(count=1, recover_s=60.0, repair_s=3600.0))
    server.submit(0.0, Job(1, 100, 100))
    assert server.lose_accelerator(0.1) == [1]
    assert server.up_s == pytest.approx(60.1)
    with pytest.raises(CapacityError, match="lost an accelerator"):
        server.submit(60.0, Job(2, 100, 100))
    server.submit(60.1, Job(2, 100, 100))
    assert server.lose_accelerator(61.0) == [2]
    assert server.up_s == pytest.approx(3600.1 + 60.0), "the first lost one is back first"
    server.advance(5000.0)
    assert server.spares == 1, "the second one"
    server.submit(5000.0, Job(3, 100, 100))
    assert [r.job_id for r in server.advance(5100.0)] == [3, 3]
