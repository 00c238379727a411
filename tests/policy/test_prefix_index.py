"""Predicted prefix hits: what they are, what they are worth, and that the index stays small."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_rig import SAMPLE

from headrace import rng
from headrace.fleet import Fleet, PerToken
from headrace.policy import POLICIES, PRICES, Arrived, Dispatch, Finished, FirstToken, Policy, PolicyEngine
from headrace.policy.backend_states import backend_states
from headrace.policy.event import AnyEvent
from headrace.policy.prefix import PrefixIndex, Prompt

BLOCK = 100
Tree = st.lists(st.integers(0, 2), max_size=6)  # a path in a tree: two paths share what they share from the root


def prompt_of(path: list[int], session: str | None = None, input_tokens: int = 10_000) -> Prompt:
    """Ids that stand for a block and all before it."""
    blocks = tuple(int("1" + "".join(map(str, path[: k + 1]))) for k in range(len(path)))
    return Prompt(blocks, BLOCK, None if session is None else ("default", session), input_tokens)


def common(a: list[int], b: list[int]) -> int:
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@given(st.lists(st.tuples(Tree, st.integers(0, 2))), Tree)
def test_a_hit_is_the_longest_beginning_that_was_sent_there(
    sent: list[tuple[list[int], int]], asked: list[int]
) -> None:
    index = PrefixIndex([inf] * 3, entries=100_000)
    for path, backend in sent:
        index.sent(prompt_of(path), backend)
    expected = {
        backend: BLOCK * depth
        for backend in range(3)
        if (depth := max((common(path, asked) for path, where in sent if where == backend), default=0))
    }
    assert index.hits(prompt_of(asked)) == expected


@given(st.lists(st.tuples(Tree, st.integers(0, 2))), st.integers(0, 30), st.integers(0, 900))
def test_the_index_never_holds_more_than_it_may(sent: list[tuple[list[int], int]], entries: int, room: int) -> None:
    index = PrefixIndex([room, inf, 2 * room], entries)
    for path, backend in sent:
        index.sent(prompt_of(path), backend)
        index.answered(prompt_of(path, session=str(path)), backend, 500)
        assert index.blocks <= entries
        assert len(index._held[0]) <= room // BLOCK
        assert len(index._sessions) <= entries
        held = [(block, k) for k in range(3) for block in index._held[k]]
        assert sorted(held) == sorted((b, k) for b, mask in index._holders.items() for k in range(3) if mask >> k & 1)


def test_what_was_used_last_stays_and_a_beginning_outlives_its_end() -> None:
    index = PrefixIndex([4 * BLOCK], entries=100)
    index.sent(prompt_of([0, 0, 0]), 0)
    index.sent(prompt_of([1, 1]), 0)
    assert index.hits(prompt_of([0, 0, 0])) == {0: 2 * BLOCK}, "the end of the older prompt made room"
    assert index.hits(prompt_of([1, 1])) == {0: 2 * BLOCK}


def test_a_session_is_where_its_last_answer_came_from_and_never_the_whole_prompt() -> None:
    index = PrefixIndex([inf, inf], entries=2)
    turn = prompt_of([], "s", 1000)
    assert index.hits(turn) == {}
    index.answered(turn, 0, 1200)
    assert index.hits(prompt_of([], "s", 1500)) == {0: 1200}
    assert index.hits(prompt_of([], "s", 800)) == {0: 799}
    index.answered(turn, 1, 1700)
    assert index.hits(prompt_of([], "s", 2000)) == {1: 1700}
    index.answered(prompt_of([], "t"), 0, 1)
    index.answered(prompt_of([], "u"), 0, 1)
    assert index.hits(prompt_of([], "s", 2000)) == {}, "the oldest of three sessions, where two are kept"
    assert index.hits(Prompt((), 0, ("another tenant", "u"), 2000)) == {}


@given(st.integers(0, 7), st.integers(1, 50_000), st.floats(0.0, 1.0))
def test_a_hit_saves_its_prefill_and_its_discount_and_no_more(which: int, input_tokens: int, part: float) -> None:
    backend = backend_states(SAMPLE)[which]
    cached, size = part * (input_tokens - 1), (input_tokens, 200.0)
    whole_s, rest_s = backend.prefill_s(input_tokens), backend.prefill_s(input_tokens, cached)
    assert -1e-12 <= rest_s <= whole_s
    assert backend.latency(*size, cached)[0] == pytest.approx(backend.latency(*size)[0] - (whole_s - rest_s))
    saved_usd = backend.cost_usd(*size) - backend.cost_usd(*size, cached)
    assert saved_usd >= 0.0
    score_usd = backend.score_usd(*size, 0.001) - backend.score_usd(*size, 0.001, cached)
    assert score_usd == pytest.approx((saved_usd + 0.001 * (whole_s - rest_s)) * (1 + backend.failure_rate), abs=1e-12)


def discounted(usd_per_mtok: float | None) -> Fleet:
    """One hosted pool of two equal backends with a cached input price."""
    pool = next(pool for pool in SAMPLE.pools.values() if isinstance(pool.price, PerToken))
    backends = tuple(replace(pool.backends[0], name=f"b{i}", url=f"http://127.0.0.1:{i + 1}") for i in range(2))
    pool = replace(pool, backends=backends, price=PerToken(1.0, 2.0, usd_per_mtok))
    route = replace(SAMPLE.routes[0], pools=(pool.name,))
    return replace(SAMPLE, pools={pool.name: pool}, shares={}, routes=(route,))


def dispatched(engine: PolicyEngine, now_s: float, event: AnyEvent) -> Dispatch:
    (dispatch, *_) = engine.handle(now_s, event)
    assert isinstance(dispatch, Dispatch)
    return dispatch


def answer(engine: PolicyEngine, now_s: float, attempt_id: int, cached: int) -> None:
    engine.handle(now_s, FirstToken(attempt_id))
    engine.handle(now_s, Finished(attempt_id, 5000, 100, cached))


@pytest.mark.parametrize("said", [{"prefix": tuple(range(1, 49)), "prefix_block_tokens": 100}, {"session": "s"}])
@pytest.mark.parametrize("policy", [PRICES, POLICIES["prefix_aware"]], ids=lambda policy: policy.name)
def test_a_prompt_goes_where_its_beginning_is_and_is_priced_with_the_discount(
    policy: Policy, said: dict[str, object]
) -> None:
    engine = PolicyEngine(discounted(0.1), rng.stream(0, "policy"), policy)
    other = dispatched(engine, 0.0, Arrived(1, "chat", 10))  # the first backend is the busier one
    first = dispatched(engine, 0.0, Arrived(2, "chat", 5000, **said))  # type: ignore[arg-type]
    answer(engine, 1.0, first.attempt_id, 0)
    engine.handle(1.0, Finished(other.attempt_id, 10, 10))
    again = dispatched(engine, 2.0, Arrived(3, "chat", 5000, **said))  # type: ignore[arg-type]
    assert other.backend != first.backend == again.backend
    cached = (again.cost_usd - again.expected_output_tokens * 2e-6) / 1e-6
    hit = 4800 if "prefix" in said else 4999
    assert cached == pytest.approx(5000 - 0.9 * hit, rel=1e-6)


def test_a_backend_that_caches_nothing_is_found_out() -> None:
    """No discount is promised for long where the backend's own counts say that there is none."""
    engine = PolicyEngine(discounted(0.1), rng.stream(0, "policy"))
    blocks = tuple(range(1, 49))
    costs = []
    for request_id in range(1, 200):
        event = Arrived(request_id, "chat", 5000, max_output_tokens=1, prefix=blocks, prefix_block_tokens=100)
        dispatch = dispatched(engine, float(request_id), event)
        costs.append(dispatch.cost_usd)
        answer(engine, float(request_id), dispatch.attempt_id, 0)
    full_usd = costs[0]
    assert costs[1] < 0.3 * full_usd
    assert costs[-1] > 0.95 * full_usd
    assert min(backend.hit_factor for backend in engine.view().backends) < 0.05


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=40))
def test_hits_of_no_worth_change_nothing(lengths: list[int]) -> None:
    """With a prompt that nobody has seen, every decision is the one without."""
    plain, told = (PolicyEngine(SAMPLE, rng.stream(0, "policy")) for _ in range(2))
    for request_id, length in enumerate(lengths, start=1):
        event = Arrived(request_id, "chat", length)
        fresh = Arrived(request_id, "chat", length, prefix=(request_id, -request_id), prefix_block_tokens=64)
        assert plain.handle(0.1 * request_id, event) == told.handle(0.1 * request_id, fresh)


def test_an_arrival_of_an_older_journal_reads_as_before() -> None:
    old = b'["Arrived",7,"chat",100,"default",null,64,true]'
    assert msgspec.json.decode(old, type=AnyEvent) == Arrived(7, "chat", 100, max_output_tokens=64)
