"""Prefill and decode apart: equal to two step-by-step servers, and a link worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from paged_rig import CURVE, GROW, KV_BYTES, Script, Stepwise, script_lists

from headrace.errors import ModelRangeError
from headrace.fleet import KvCache, Replicas
from headrace.modelserver import (
    BatchingServer,
    DecodeReplicas,
    Job,
    Link,
    Milestone,
    PagedServer,
    PrefillServer,
    ReplicatedServer,
    SplitServer,
)

LINK = Link(bytes_per_s=1.31e7, kv_bytes_per_token=KV_BYTES, latency_s=0.00313)
PREFILL = replace(CURVE, chunk_tokens=512)
ONE = Replicas(1, 1)


def split_server(link: Link = LINK, kv: KvCache = GROW) -> SplitServer:
    prefill = ReplicatedServer(lambda: PrefillServer(PREFILL, KvCache()), ONE)
    decode = DecodeReplicas(lambda: PagedServer(CURVE, kv), ONE)
    return SplitServer(prefill, decode, link, CURVE.kv_capacity_tokens)


def expected(scripts: list[Script], kv: KvCache) -> dict[tuple[int, Milestone], float]:
    """Two references, one after the other, and the link in between."""
    firsts = [script._replace(job=Job(script.job.job_id, script.job.input_tokens, 1)) for script in scripts]
    prefill = Stepwise(PREFILL, KvCache(), firsts)
    prefill.run()
    jobs = {script.job.job_id: script for script in scripts}
    done = sorted((round(times[0] - prefill.lag_s[job_id], 12), job_id) for job_id, times in prefill.tokens.items())
    done = [(at_s, job_id) for at_s, job_id in done if (jobs[job_id].abort_s or at_s) >= at_s]
    found, free_s, arrivals = {}, 0.0, []
    for at_s, job_id in done:
        job, abort_s, lag_s = jobs[job_id].job, jobs[job_id].abort_s, prefill.lag_s[job_id]
        found[job_id, Milestone.FIRST_TOKEN] = at_s + lag_s
        if job.output_tokens == 1:
            found[job_id, Milestone.FINISHED] = at_s + lag_s
            continue
        free_s = max(free_s, at_s) + LINK.latency_s + job.input_tokens * KV_BYTES / LINK.bytes_per_s
        if abort_s is None or abort_s > free_s:
            arrivals.append(Script(job, free_s, abort_s, lag_s))
    decode = Stepwise(CURVE, kv, arrivals)
    decode.run()
    for script in arrivals:
        times = decode.tokens[script.job.job_id]
        if len(times) == script.job.output_tokens - 1:
            found[script.job.job_id, Milestone.FINISHED] = times[-1]
    return {key: at_s for key, at_s in found.items() if at_s <= (jobs[key[0]].abort_s or at_s)}


@pytest.mark.parametrize("kv", [GROW, KvCache()], ids=["grow", "reserve"])
@settings(max_examples=60, deadline=None)
@given(scripts=script_lists())
def test_milestones_equal_those_of_two_servers_run_step_by_step(kv: KvCache, scripts: list[Script]) -> None:
    server = split_server(kv=kv)
    events = [(s.submit_s, s.job.job_id, True, s.job) for s in scripts]
    events += [(s.abort_s, s.job.job_id, False, s.job) for s in scripts if s.abort_s is not None]
    reports = []
    for at_s, job_id, is_submit, job in sorted(events):
        reports += server.advance(at_s)
        server.submit(at_s, job) if is_submit else server.abort(at_s, job_id)
    while (next_s := server.next_s()) is not None:
        reports += server.advance(next_s)
        for report in reports[-3:]:
            assert report.milestone is not Milestone.FINISHED or report.at_s <= next_s
    assert [r.at_s for r in reports] == sorted(r.at_s for r in reports)
    found = {(r.job_id, r.milestone): r.at_s for r in reports}
    assert len(found) == len(reports)
    assert found == pytest.approx(expected(scripts, kv), abs=1e-9)
    assert (server.running, server.waiting, server.kv_tokens) == (0, 0, 0)


@settings(max_examples=40, deadline=None)
@given(scripts=script_lists())
def test_tokens_are_produced_in_order_and_when_they_were_due(scripts: list[Script]) -> None:
    server, now_s, last = split_server(), 0.0, dict.fromkeys((s.job.job_id for s in scripts), 0)
    for script in scripts:
        server.submit(0.0, script.job)
    while server.next_s() is not None:
        now_s += 0.0231
        ended = {r.job_id for r in server.advance(now_s) if r.milestone is Milestone.FINISHED}
        for script in scripts:
            tokens = server.produced(now_s, script.job.job_id)
            if script.job.job_id in ended:
                assert tokens == script.job.output_tokens
                last[script.job.job_id] = tokens
            elif last[script.job.job_id] < script.job.output_tokens:
                assert last[script.job.job_id] <= tokens <= script.job.output_tokens
                due_s = server.token_due_s(script.job.job_id, tokens + 1)
                assert due_s is None or due_s > now_s
                last[script.job.job_id] = tokens
    assert last == {s.job.job_id: s.job.output_tokens for s in scripts}


def test_decode_is_not_slowed_down_by_prefills_and_waits_for_its_kv() -> None:
    server, together = split_server(), BatchingServer(CURVE)
    for each in (server, together):
        each.submit(0.0, Job(1, 100, 40))
        each.submit(0.2, Job(2, 500, 1))
    ends, mixed = (
        {r.job_id: r.at_s for r in each.advance(60.0) if r.milestone is Milestone.FINISHED}
        for each in (server, together)
    )
    steps = [CURVE.step_s[1] + CURVE.kv_s_per_token * (100 + token) for token in range(1, 40)]
    first_s = PREFILL.step_s[0] + PREFILL.prefill_s(100)
    assert ends[1] == pytest.approx(first_s + LINK.transfer_s(100) + sum(steps) + CURVE.overhead_s(100))
    assert ends[1] < mixed[1]


def test_a_job_that_fits_no_decode_replica_is_refused_at_once() -> None:
    server = split_server()
    with pytest.raises(ModelRangeError, match="KV blocks"):
        server.submit(0.0, Job(1, 900, 200))
    assert (server.next_s(), server.running) == (None, 0)
    with pytest.raises(ModelRangeError, match="moves no KV"):
        split_server(replace(LINK, bytes_per_s=0.0))
