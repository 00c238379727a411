"""Deadlines of attempts: none is forgotten, and the queue holds little but those that wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from policy_rig import SAMPLE

from headrace.policy.backend_states import backend_states
from headrace.policy.breaker import Probe
from headrace.policy.deadline import FEW, Deadlines
from headrace.policy.routing import Candidates
from headrace.policy.state import AttemptState, RequestState

BACKENDS = backend_states(SAMPLE)
TIMEOUT_S = 10.0
steps = st.lists(st.tuples(st.floats(0.0, 0.1), st.booleans(), st.integers(0, 500)), min_size=100, max_size=300)


def attempt() -> AttemptState:
    request = RequestState(1, SAMPLE.classes["chat"], "default", 100, 10.0, Candidates(()), (), True, 0.0)
    return AttemptState(1, request, BACKENDS[0], 0.0, 0.1, 0.01, 0.0, 0.0, Probe.NOTHING)


@given(steps)
def test_the_overdue_are_those_that_still_wait_in_the_order_of_their_making(
    steps: list[tuple[float, bool, int]],
) -> None:
    deadlines, made, now_s = Deadlines(TIMEOUT_S), list[tuple[float, AttemptState]](), 0.0
    for passed_s, ends, which in steps:
        now_s += passed_s
        if ends and made:
            made[which % len(made)][1].waits = False
        made.append((now_s + TIMEOUT_S, attempt()))
        waiting = [due_s for due_s, each in made if each.waits]
        assert deadlines.add(now_s, made[-1][1]) == waiting[0]
        late = [id(each) for due_s, each in made if each.waits and due_s <= now_s]
        assert [id(each) for each in deadlines.overdue(now_s)] == late
        made = [(due_s, each) for due_s, each in made if each.waits and due_s > now_s]
        assert deadlines.next_s() == (made[0][0] if made else None)


def test_one_that_waits_long_keeps_nothing_else_in_memory() -> None:
    deadlines = Deadlines(TIMEOUT_S)
    deadlines.add(0.0, attempt())
    for _ in range(10_000):
        answered = attempt()
        deadlines.add(0.0, answered)
        answered.waits = False
        assert len(deadlines) <= FEW + 2
