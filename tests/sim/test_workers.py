"""Several workers are one engine to the driver."""

from __future__ import annotations

import pytest
from sim_rig import one_pool_fleet

from headrace import rng
from headrace.errors import InvariantError
from headrace.policy import (
    Arrived,
    Cancel,
    ClientGone,
    Dispatch,
    End,
    Enqueue,
    Finished,
    FleetChanged,
    Outcome,
    PolicyEngine,
)
from headrace.sim import Workers


def workers(count: int) -> Workers:
    fleet = one_pool_fleet(2, 1)
    engines = tuple(PolicyEngine(fleet, rng.stream(0, f"policy.{number}")) for number in range(count))
    return Workers(engines, rng.stream(0, "sim.workers"))


def test_each_keeps_limits_and_numbers_of_its_own() -> None:
    """Two places, three workers: each lets two in, and no two attempts have one number."""
    group = workers(3)
    actions = [a for number in range(1, 40) for a in group.handle(0.0, Arrived(number, "chat", 10))]
    sent = [a for a in actions if isinstance(a, Dispatch)]
    assert len(sent) == 2 * 3 == len({a.attempt_id for a in sent})
    assert sum(isinstance(a, Enqueue) for a in actions) == 39 - 6
    first = sent[0]
    done = group.handle(1.0, Finished(first.attempt_id, 10, 10))
    assert done[0] == End(first.request_id, Outcome.COMPLETED)
    assert [type(a) for a in done[1:]][:1] == [Dispatch], "of the same worker's queue"


def test_what_concerns_all_is_told_to_all_and_who_leaves_to_one() -> None:
    group = workers(4)
    assert group.handle(0.0, FleetChanged(("b0",))) == []
    sent = [a for number in range(1, 20) for a in group.handle(0.0, Arrived(number, "chat", 10))]
    dispatched = [a for a in sent if isinstance(a, Dispatch)]
    assert {a.backend for a in dispatched} == {"b1"}
    assert len(dispatched) == 4
    gone = group.handle(1.0, ClientGone(dispatched[0].request_id))
    assert gone[:2] == [Cancel(dispatched[0].attempt_id), End(dispatched[0].request_id, Outcome.CANCELLED)]
    assert group.handle(1.0, ClientGone(dispatched[0].request_id)) == [], "late and repeated events change nothing"


def test_a_gateway_has_a_worker() -> None:
    with pytest.raises(InvariantError, match="at least one"):
        workers(0)
