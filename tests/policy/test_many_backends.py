"""How many backends a fleet has never shows in an action: the table of prices and the loop choose alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_rig import Chaos, small_fleet

from headrace import rng
from headrace.fleet import Fleet
from headrace.policy import AnyAction, AnyEvent, PolicyEngine, choice
from headrace.policy.journal import JournalEntry, decode_entries, first_difference
from headrace.sim import simulate
from headrace.workload import AGENT, CHAT, CODING, ClassTraffic, generate


def by_table(fleet: Fleet, entries: Iterable[JournalEntry]) -> tuple[int, object]:
    """Give an engine with a table what one with a loop was given; returns entries run and the first difference."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "MANY", 1)
        engine = PolicyEngine(fleet, rng.stream(0, "policy"))
    return first_difference(engine, entries)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), max_in_flight=st.integers(1, 3))
def test_failures_retries_and_full_backends_are_met_alike(seed: int, max_in_flight: int) -> None:
    chaos = Chaos(seed, max_in_flight)
    chaos.engine = PolicyEngine(chaos.fleet, rng.stream(0, "policy"))
    for _ in range(150):
        chaos.step()
    run, difference = by_table(chaos.fleet, decode_entries(chaos.journal))
    assert difference is None
    assert run == len(chaos.journal)


def test_a_fleet_whose_batches_are_full_is_priced_alike() -> None:
    fleet = replace(small_fleet(256), limits=replace(small_fleet(256).limits, queue_depth=10_000))
    traffic = {"coding": CODING, "chat": CHAT, "agent": AGENT}
    entries: list[JournalEntry] = []

    def record(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        entries.append(JournalEntry(now_s, event, actions))

    simulate(fleet, generate([ClassTraffic(n, traffic[n], 40.0) for n in fleet.classes], 8.0, 0), on_step=record)
    run, difference = by_table(fleet, entries)
    assert difference is None
    assert run == len(entries) > 5_000
