"""A provider's terms: rate limits, a prefix cache with a TTL, and speeds that scatter."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import CapacityError, ModelRangeError, QuotaExceeded
from headrace.fleet import Quantiles, Quota
from headrace.modelserver import HostedServer, Job, Milestone, ProviderTerms, QuotaGate, Report, SessionCache
from headrace.perf import Serving, SpeedCurve

CURVE = SpeedCurve(
    serving=Serving.HOSTED,
    ttft_overhead_s=0.2,
    prefill_s_per_token=1e-4,
    prefill_s_per_token_squared=0.0,
    step_s=(0.01, 0.01),
    kv_s_per_token=0.0,
    max_batch=1,
    chunk_tokens=1,
    depth=1,
    kv_capacity_tokens=None,
    power_w=None,
)
LIMIT, MINUTE_S = 6000.0, 60.0

jobs = st.lists(
    st.tuples(st.floats(0.0, 30.0), st.integers(1, 2000), st.integers(1, 900), st.none() | st.integers(1, 3000)),
    max_size=40,
)


def taken_in_window(taken: list[tuple[float, float]], width_s: float) -> float:
    return max((sum(n for t, n in taken if at_s <= t <= at_s + width_s) for at_s, _ in taken), default=0.0)


@given(script=jobs)
def test_no_window_reserves_more_than_its_limit_and_who_waits_as_told_is_admitted(
    script: list[tuple[float, int, int, int | None]],
) -> None:
    quota = Quota(requests_per_minute=10, tokens_per_minute=LIMIT, assumed_output_tokens=2500, true_up=False)
    gate, now_s = QuotaGate(quota), 0.0
    tokens: list[tuple[float, float]] = []
    for number, (gap_s, input_tokens, output_tokens, ceiling) in enumerate(script):
        now_s += gap_s
        job = Job(number, input_tokens, output_tokens, max_output_tokens=ceiling)
        asked = input_tokens + (2500 if ceiling is None else ceiling)
        try:
            assert gate.reserve(now_s, job, 0) == asked
        except QuotaExceeded as error:
            now_s += error.retry_after_s
            assert gate.reserve(now_s, job, 0) == asked
        tokens.append((now_s, float(asked)))
    for width_s in (0.0, 7.0, MINUTE_S, 200.0):
        assert taken_in_window(tokens, width_s) <= LIMIT * (1 + width_s / MINUTE_S) * (1 + 1e-6)
        assert taken_in_window([(t, 1.0) for t, _ in tokens], width_s) <= 10 * (1 + width_s / MINUTE_S) * (1 + 1e-6)


@settings(max_examples=60)
@given(script=jobs, true_up=st.booleans(), count_cached=st.booleans())
def test_what_is_left_of_a_limit_is_what_was_not_used(
    script: list[tuple[float, int, int, int | None]], true_up: bool, count_cached: bool
) -> None:
    """A limit per day, so large that nothing refills beyond it: levels are sums that can be written down."""
    limit = 1e6
    quota = Quota(tokens_per_day=limit, assumed_output_tokens=700, true_up=true_up, count_cached=count_cached)
    server = HostedServer(CURVE, ProviderTerms(quota=quota, cache_ttl_s=1e9))
    used, now_s = 0.0, 0.0
    for number, (gap_s, input_tokens, output_tokens, ceiling) in enumerate(script):
        now_s += gap_s / 1e6
        reserved = 700 if ceiling is None else ceiling
        server.submit(
            now_s, Job(number, input_tokens, output_tokens, (1, 2, 3, 4)[: input_tokens // 512 + 1], 512, ceiling)
        )
        used += input_tokens + (output_tokens if true_up else reserved)
    reports = server.advance(60.0)
    if not count_cached:
        used -= sum(r.cached_input_tokens for r in reports if r.milestone is Milestone.FINISHED)
    refilled = 60.0 * limit / 86400.0
    probe = Job(10**6, max(1, int(limit - used)), 1, max_output_tokens=0)
    server.submit(60.0, probe)
    with pytest.raises(QuotaExceeded):
        server.submit(60.0, Job(10**6 + 1, int(refilled) + 10, 1, max_output_tokens=0))


def test_a_generous_ceiling_throttles_its_sender_until_the_answer_ends() -> None:
    def second(true_up: bool) -> float:
        quota = Quota(tokens_per_minute=LIMIT, true_up=true_up)
        server = HostedServer(CURVE, ProviderTerms(quota=quota))
        server.submit(0.0, Job(1, 1000, 50, max_output_tokens=5000))
        with pytest.raises(QuotaExceeded) as refused:
            server.submit(0.1, Job(2, 1000, 50, max_output_tokens=1000))
        assert refused.value.retry_after_s == pytest.approx(20.0 - 0.1)
        server.advance(2.0)
        try:
            server.submit(2.0, Job(2, 1000, 50, max_output_tokens=1000))
        except QuotaExceeded as error:
            return 2.0 + error.retry_after_s
        return 2.0

    assert second(true_up=True) == 2.0
    assert second(true_up=False) == pytest.approx(20.0)


def test_a_request_beyond_every_limit_is_refused_for_good_and_a_full_provider_for_now() -> None:
    quota = Quota(tokens_per_minute=LIMIT, max_in_flight=1)
    server = HostedServer(CURVE, ProviderTerms(quota=quota))
    with pytest.raises(ModelRangeError, match="lower max_completion_tokens"):
        server.submit(0.0, Job(1, 1000, 50, max_output_tokens=5001))
    server.submit(0.0, Job(1, 1000, 50, max_output_tokens=100))
    with pytest.raises(CapacityError, match="in flight") as full:
        server.submit(0.0, Job(2, 10, 50, max_output_tokens=100))
    assert not isinstance(full.value, QuotaExceeded)
    assert (server.running, len(server.advance(9.0))) == (1, 2)
    server.submit(9.0, Job(2, 10, 50, max_output_tokens=100))


@given(
    script=st.lists(
        st.tuples(st.floats(0.0, 9.0), st.lists(st.integers(0, 2), max_size=5), st.integers(0, 40)), max_size=30
    )
)
def test_a_session_cache_finds_what_was_used_within_its_ttl(script: list[tuple[float, list[int], int]]) -> None:
    cache, now_s, block = SessionCache(10.0), 0.0, 16
    history: list[tuple[float, tuple[int, ...]]] = []
    for number, (gap_s, path, more) in enumerate(script):
        now_s += gap_s
        hashes = tuple(hash((0, *path[: i + 1])) for i in range(len(path)))
        job = Job(number, len(path) * block + more % block + 1, 1, hashes, block)
        run = 0
        for each in hashes:
            last_s = max((at_s for at_s, used in history if each in used), default=-99.0)
            if last_s < now_s - 10.0 or (run + 1) * block >= job.input_tokens:
                break
            run += 1
        assert cache.found_tokens(now_s, job) == run * block
        cache.enter(now_s, now_s, job)
        history.append((now_s, hashes))
    assert len(cache) <= len({each for _, used in history for each in used})


def test_a_hit_is_not_prefilled_again_and_is_reported() -> None:
    server = HostedServer(CURVE, ProviderTerms(cache_ttl_s=5.0))
    ttft = {}
    for job_id, at_s in ((1, 0.0), (2, 0.1), (3, 4.0), (4, 9.5)):
        server.advance(at_s)
        server.submit(at_s, Job(job_id, 1000, 1, (7, 8), 500))
        ttft[job_id] = (server.next_s() or 0.0) - at_s if job_id != 2 else 0.0
    assert ttft[1] == pytest.approx(0.2 + 0.1)
    assert ttft[3] == pytest.approx(0.2 + 0.05)
    assert ttft[4] == pytest.approx(0.2 + 0.1), "forgotten"
    cached = [r.cached_input_tokens for r in sent_again_and_again(Job(5, 1000, 1, (7, 8), 500), 3)]
    assert cached == [0, 500, 500]


def sent_again_and_again(job: Job, times: int) -> list[Report]:
    """The finish reports of the same job, a second apart."""
    server, reports = HostedServer(CURVE, ProviderTerms(cache_ttl_s=5.0)), []
    for number in range(times):
        server.submit(float(number), Job(number, job.input_tokens, 1, job.prefix, job.prefix_block_tokens))
        reports += [r for r in server.advance(number + 0.9) if r.milestone is Milestone.FINISHED]
    return reports


def test_latencies_are_drawn_from_the_quantiles_and_by_the_seed_alone() -> None:
    terms = ProviderTerms(ttft=Quantiles((0.1, 0.5, 0.9), (0.1, 0.2, 0.9)), tpot=Quantiles((0.5, 0.95), (0.002, 0.004)))

    def run(seed: int) -> list[tuple[float, float]]:
        server, found = HostedServer(CURVE, terms, Random(seed)), []
        for number in range(2000):
            server.submit(float(number * 10), Job(number, 1, 11))
            first, last = server.advance(number * 10 + 9.0)
            found.append((first.at_s - number * 10 - CURVE.prefill_s(1), (last.at_s - first.at_s) / 10))
        return found

    drawn = run(1)
    assert run(1) == drawn != run(2)
    for column, quantiles in zip(zip(*drawn, strict=True), (terms.ttft, terms.tpot), strict=True):
        assert quantiles is not None
        for level, value in zip(quantiles.levels, quantiles.values, strict=True):
            below = sum(each <= value + 1e-9 for each in column) / len(column)
            expected = 1.0 if level == quantiles.levels[-1] else level
            assert below == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("terms", [None, ProviderTerms()])
def test_without_terms_nothing_changes(terms: ProviderTerms | None) -> None:
    server = HostedServer(replace(CURVE, ttft_overhead_s=0.3), terms)
    server.submit(0.0, Job(1, 1000, 11))
    assert [r.at_s for r in server.advance(9.0)] == pytest.approx([0.4, 0.5])
