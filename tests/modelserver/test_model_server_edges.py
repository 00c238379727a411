"""What model servers refuse, and what they do at the edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InvariantError, ModelRangeError
from headrace.modelserver import BLOCK_TOKENS, Job, KvBlocks, Milestone, model_server
from headrace.perf import Serving, SpeedCurve

BATCHING = SpeedCurve(
    serving=Serving.BATCHING,
    ttft_overhead_s=0.02,
    prefill_s_per_token=1e-4,
    prefill_s_per_token_squared=0.0,
    step_s=(0.0, 0.01, 0.01),
    kv_s_per_token=0.0,
    max_batch=2,
    chunk_tokens=512,
    depth=2,
    kv_capacity_tokens=1024,
    power_w=None,
)
CURVES = [replace(BATCHING, serving=serving) for serving in Serving]
BOUNDED = CURVES[:2]


@pytest.mark.parametrize("curve", CURVES, ids=lambda c: c.serving)
def test_one_output_token_is_first_and_last(curve: SpeedCurve) -> None:
    server = model_server(curve)
    server.submit(1.0, Job(7, 100, 1))
    assert server.next_s() == pytest.approx(1.0 + curve.ttft_s(100))
    reports = server.advance(2.0)
    assert [(r.job_id, r.milestone) for r in reports] == [(7, Milestone.FIRST_TOKEN), (7, Milestone.FINISHED)]
    assert reports[0].at_s == reports[1].at_s == pytest.approx(1.0 + curve.ttft_s(100))


@pytest.mark.parametrize("curve", CURVES, ids=lambda c: c.serving)
def test_a_job_alone_runs_at_the_uncontended_speed_of_its_curve(curve: SpeedCurve) -> None:
    server = model_server(curve)
    server.submit(0.0, Job(1, 100, 11))
    first, last = server.advance(10.0)
    assert first.at_s == pytest.approx(curve.ttft_s(100))
    assert (last.at_s - first.at_s) / 10 == pytest.approx(curve.tpot_s())


@pytest.mark.parametrize("curve", BOUNDED, ids=lambda c: c.serving)
def test_a_job_that_can_never_fit_is_refused_and_leaves_nothing_behind(curve: SpeedCurve) -> None:
    server = model_server(curve)
    with pytest.raises(ModelRangeError, match="65 KV blocks"):
        server.submit(0.0, Job(1, 1000, 25))
    assert (server.running, server.waiting, server.next_s()) == (0, 0, None)
    server.submit(0.0, Job(1, 1000, 24))
    assert (server.running, server.kv_tokens) == (1, 1024)


@pytest.mark.parametrize("curve", BOUNDED, ids=lambda c: c.serving)
def test_a_job_waits_until_an_abort_frees_its_room(curve: SpeedCurve) -> None:
    server = model_server(curve)
    server.submit(0.0, Job(1, 600, 100))
    server.submit(0.0, Job(2, 600, 100))
    assert (server.running, server.waiting) == (1, 1)
    server.abort(0.3, 1)
    assert (server.running, server.waiting) == (1, 0)
    assert {r.job_id for r in server.advance(60.0)} == {2} | ({1} if curve.serving is Serving.HOSTED else set())


@pytest.mark.parametrize("curve", CURVES, ids=lambda c: c.serving)
def test_unknown_and_ended_jobs_are_ignored_by_abort(curve: SpeedCurve) -> None:
    server = model_server(curve)
    server.abort(0.0, 99)
    server.submit(0.0, Job(1, 10, 2))
    assert len(server.advance(5.0)) == 2
    server.abort(6.0, 1)
    assert (server.produced(6.0, 99), server.token_due_s(99, 1), server.advance(7.0)) == (0, None, [])


@pytest.mark.parametrize("curve", CURVES, ids=lambda c: c.serving)
def test_broken_use_is_named(curve: SpeedCurve) -> None:
    server = model_server(curve)
    server.submit(1.0, Job(1, 10, 2))
    with pytest.raises(InvariantError, match="submitted twice"):
        server.submit(1.0, Job(1, 10, 2))
    with pytest.raises(InvariantError, match="time went back"):
        server.advance(0.5)
    for job in (Job(2, 0, 1), Job(2, 1, 0)):
        with pytest.raises(ModelRangeError, match="at least 1"):
            server.submit(1.0, job)


@pytest.mark.parametrize(
    "curve",
    [
        replace(BATCHING, max_batch=3),
        replace(BATCHING, chunk_tokens=0),
        replace(BATCHING, serving=Serving.DATAFLOW, depth=0),
        replace(BATCHING, serving=Serving.DATAFLOW, kv_s_per_token=1e-9),
    ],
)
def test_a_curve_that_does_not_suit_its_way_of_serving_is_refused(curve: SpeedCurve) -> None:
    with pytest.raises(ModelRangeError):
        model_server(curve)


@given(asked=st.lists(st.integers(0, 400), max_size=40), capacity_tokens=st.integers(0, 5000))
def test_allocated_and_free_blocks_add_up_to_the_total(asked: list[int], capacity_tokens: int) -> None:
    kv, held = KvBlocks(capacity_tokens), []
    for tokens in asked:
        blocks = KvBlocks.blocks_for(tokens)
        if kv.fits(blocks):
            kv.allocate(blocks)
            held.append(blocks)
        elif held:
            kv.release(held.pop(0))
        assert kv.free is not None
        assert kv.total == capacity_tokens // BLOCK_TOKENS == kv.allocated + kv.free
        assert kv.allocated == sum(held)
        assert kv.free >= 0


def test_blocks_that_are_not_there_are_neither_handed_out_nor_taken_back() -> None:
    kv = KvBlocks(64)
    with pytest.raises(InvariantError):
        kv.allocate(5)
    kv.allocate(3)
    with pytest.raises(InvariantError):
        kv.release(4)


def test_the_fixed_part_of_a_prefill_is_paid_once_by_the_step_that_completes_it() -> None:
    """As on Neuron, where a prefill of experts takes a second whatever its length, and every slot stands still."""
    plain, fixed = model_server(BATCHING), model_server(replace(BATCHING, prefill_fixed_s=1.0))
    ends = []
    for server in (plain, fixed):
        server.submit(0.0, Job(1, BATCHING.chunk_tokens + 1, 2))
        server.submit(0.0, Job(2, 1, 2))
        reports = server.advance(1e6)
        ends.append({r.job_id: r.at_s for r in reports if r.milestone is Milestone.FIRST_TOKEN})
    assert ends[1][1] == pytest.approx(ends[0][1] + 2.0), "both complete in the same step"
    assert ends[1] == pytest.approx({job: at_s + 2.0 for job, at_s in ends[0].items()})
    assert BATCHING.prefill_s(0) == replace(BATCHING, prefill_fixed_s=1.0).prefill_s(0) == 0.0
