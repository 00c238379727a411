"""The engine's laws, whatever order events come in and whatever policy chooses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_rig import SAMPLE, Chaos, small_fleet

from headrace import rng
from headrace.policy import (
    POLICIES,
    Arrived,
    AttemptFailed,
    ClientGone,
    Dispatch,
    FailureKind,
    Finished,
    Policy,
    PolicyEngine,
)
from headrace.policy.journal import JournalEntry, decode_entries, first_difference

EVERY_POLICY = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())


@EVERY_POLICY
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), max_in_flight=st.integers(1, 3))
def test_every_request_and_attempt_ends_once_and_no_limit_is_broken(
    policy: Policy, seed: int, max_in_flight: int
) -> None:
    """Law 6 with it: an open breaker, a drained or a full backend is never picked (`policy_rig`)."""
    chaos = Chaos(seed, max_in_flight, policy)
    for _ in range(150):
        chaos.step()
    for request_id in range(1, chaos.arrived + 1):
        chaos.send(ClientGone(request_id))
    assert chaos.engine.view().requests_live == 0
    assert sorted(chaos.ended) == list(range(1, chaos.arrived + 1))


@EVERY_POLICY
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_journal_runs_again_to_identical_actions(policy: Policy, seed: int) -> None:
    """Chance comes from the injected stream only: a fresh engine with the same stream does the same."""
    chaos = Chaos(seed, 2, policy)
    for _ in range(150):
        chaos.step()
    fresh = PolicyEngine(chaos.fleet, rng.stream(seed, "policy"), policy)
    assert first_difference(fresh, decode_entries(chaos.journal)) == (len(chaos.journal), None)


def test_those_laws_are_put_to_the_test_by_hedges_and_rescues() -> None:
    hedges = rescues = 0
    for seed in range(24):
        chaos = Chaos(seed, 3)
        for _ in range(300):
            chaos.step()
        hedges, rescues = hedges + chaos.hedges, rescues + chaos.rescues
    assert hedges > 10
    assert rescues > 3


def test_a_changed_action_is_found() -> None:
    chaos = Chaos(1, 2)
    for _ in range(50):
        chaos.step()
    entries = list(decode_entries(chaos.journal))
    index = next(i for i, entry in enumerate(entries) if entry.actions)
    entries[index] = JournalEntry(entries[index].now_s, entries[index].event, [])
    fresh = PolicyEngine(chaos.fleet, rng.stream(1, "policy"))
    count, difference = first_difference(fresh, entries)
    assert count == index
    assert difference is not None
    assert difference.index == index


def test_a_refusal_teaches_nothing_about_length() -> None:
    engine = PolicyEngine(SAMPLE, rng.stream(0, "policy"))
    expected = []
    for request_id in range(1, 4):
        (dispatch, *_) = engine.handle(0.0, Arrived(request_id, "chat", 100))
        assert isinstance(dispatch, Dispatch)
        expected.append(dispatch.expected_output_tokens)
        engine.handle(0.0, Finished(dispatch.attempt_id, 0, 0))
    assert expected == [SAMPLE.classes["chat"].expected_output_tokens] * 3


@given(st.lists(st.sampled_from(["failed", "succeeded", "wait"]), max_size=40))
def test_an_open_breaker_is_never_picked(steps: list[str]) -> None:
    engine = PolicyEngine(small_fleet(1), rng.stream(0, "policy"))
    now_s = 0.0
    for request_id, step in enumerate(steps, start=1):
        now_s += 40.0 if step == "wait" else 0.1
        opened = {b.name for b in engine.view().backends if b.breaker == "open"}
        actions = engine.handle(now_s, Arrived(request_id, "chat", 100))
        blocked = opened & {b.name for b in engine.view().backends if b.breaker == "open"}
        for dispatch in [a for a in actions if isinstance(a, Dispatch)]:
            assert dispatch.backend not in blocked
            failed = step == "failed"
            event = AttemptFailed(dispatch.attempt_id, FailureKind.RESET, committed=True) if failed else None
            engine.handle(now_s, event or Finished(dispatch.attempt_id, 100, 10))
