"""What a prefix cache finds, and that it never invents a block."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ModelRangeError
from headrace.fleet import KvCache
from headrace.modelserver import BLOCK_TOKENS, Job, KvBlocks, Milestone, PagedServer, PrefixCache
from headrace.perf import Serving, SpeedCurve

MOONCAKE = Path(__file__).resolve().parents[2] / "../shared/data/traces/mooncake"
HASHED = 512
CURVE = SpeedCurve(
    serving=Serving.BATCHING,
    ttft_overhead_s=0.0,
    prefill_s_per_token=1e-5,
    prefill_s_per_token_squared=0.0,
    step_s=(0.001,) * 257,
    kv_s_per_token=0.0,
    max_batch=256,
    chunk_tokens=8192,
    depth=1,
    kv_capacity_tokens=None,
    power_w=None,
)


def mooncake(name: str) -> Iterator[tuple[float, Job]]:
    with gzip.open(MOONCAKE / f"{name}_trace.jsonl.gz") as lines:
        for number, line in enumerate(lines, start=1):
            row = msgspec.json.decode(line)
            yield (
                row["timestamp"] / 1000,
                Job(number, row["input_length"], max(1, row["output_length"]), tuple(row["hash_ids"]), HASHED),
            )


def hits(curve: SpeedCurve, name: str) -> dict[int, int]:
    """Cached input tokens of every job."""
    server = PagedServer(curve, KvCache(prefix_cache=True))
    reports = []
    for at_s, job in mooncake(name):
        reports += server.advance(at_s)
        server.submit(at_s, job)
    reports += server.advance(1e7)
    return {r.job_id: r.cached_input_tokens for r in reports if r.milestone is Milestone.FINISHED}


def ideal(name: str) -> dict[int, int]:
    """An infinite cache: leading whole blocks that any earlier request had; at least one token is left to compute."""
    seen: set[int] = set()
    found = {}
    for _, job in mooncake(name):
        run = 0
        for block in job.prefix:
            if block not in seen or (run + 1) * HASHED >= job.input_tokens:
                break
            run += 1
        found[job.job_id] = run * HASHED
        seen.update(job.prefix[: job.input_tokens // HASHED])
    return found


@pytest.mark.skipif(not MOONCAKE.exists(), reason="needs the shared traces")
@pytest.mark.parametrize("name", ["conversation", "synthetic"])
def test_hits_on_the_mooncake_trace_are_those_of_an_ideal_cache_and_fewer_with_less_memory(name: str) -> None:
    total = sum(job.input_tokens for _, job in mooncake(name))
    best = ideal(name)
    assert hits(CURVE, name) == best
    shares = [sum(hits(replace(CURVE, kv_capacity_tokens=tokens), name).values()) / total for tokens in (10**6, 10**7)]
    assert 0.0 < shares[0] < shares[1] <= sum(best.values()) / total


@given(
    jobs=st.lists(st.tuples(st.lists(st.integers(0, 4), max_size=6), st.integers(0, 40)), max_size=40),
    total=st.integers(8, 60),
)
def test_blocks_add_up_and_idle_ones_are_free(jobs: list[tuple[list[int], int]], total: int) -> None:
    """`hashes` of a job are drawn so that prefixes repeat; it leaves as the cache overflows, oldest first."""
    kv = KvBlocks(total * BLOCK_TOKENS)
    cache = PrefixCache(kv)
    held: list[tuple[tuple[int, ...], list[int], int]] = []
    for number, (path, private) in enumerate(jobs):
        hashes = tuple(hash((0, *path[: i + 1])) for i in range(len(path)))
        tokens = len(hashes) * BLOCK_TOKENS + 1
        whole = cache.whole_blocks(Job(number, tokens, 1, hashes, BLOCK_TOKENS))
        found = cache.found(whole, tokens)
        need = len(whole) + private - cache.room(whole, found)
        while held and not kv.fits(need):
            old, mine, own = held.pop(0)
            kv.release(own)
            cache.release(old, mine, len(old))
            found = cache.found(whole, tokens)
            need = len(whole) + private - cache.room(whole, found)
        if not kv.fits(need):
            continue
        mine = cache.hold(whole, found)
        own = len(whole) + private - len(mine)
        cache.allocate(own)
        held.append((whole, mine, own))
        shared = {whole[position] for whole, mine, _ in held for position in mine}
        assert kv.allocated == len(shared) + sum(own for _, _, own in held)
        assert cache.held_blocks == len(shared)
        assert kv.free is not None
        assert cache.idle_blocks <= kv.free == total - kv.allocated


def test_a_whole_prompt_that_is_cached_still_computes_its_last_token() -> None:
    server = PagedServer(CURVE, KvCache(prefix_cache=True))
    for job_id in (1, 2):
        server.submit(0.0, Job(job_id, 2 * HASHED, 1, (7, 8), HASHED))
    cached = {r.job_id: r.cached_input_tokens for r in server.advance(60.0)}
    assert cached == {1: 0, 2: HASHED}


@pytest.mark.parametrize("tokens", [0, 8, 24])
def test_blocks_that_are_no_multiple_of_a_kv_block_are_refused(tokens: int) -> None:
    server = PagedServer(CURVE, KvCache(prefix_cache=True))
    with pytest.raises(ModelRangeError, match="multiple of 16"):
        server.submit(0.0, Job(1, 100, 1, (1,), tokens))
    server.submit(0.0, Job(1, 100, 1, (1,), 32))
    with pytest.raises(ModelRangeError, match="needs 32"):
        server.submit(0.0, Job(2, 100, 1, (1,), 64))
    assert [r.job_id for r in server.advance(9.0) if r.milestone is Milestone.FINISHED] == [1]
