"""A turn never starts before what it waits for has ended, and every turn starts once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InvariantError
from headrace.workload import ClosedLoop, EndedTask, Request, Turn, TurnGate


def turn(task: str, session: str, number: int, at_s: float = 0.0, **more: object) -> Request:
    return Request(at_s, "agent", 10, 10, turn=Turn(task, session, number, **more))  # type: ignore[arg-type]


@dataclass
class World:
    """Virtual time and a server that takes `answer_s` for every answer."""

    answer_s: float
    now_s: float = 0.0
    heap: list = field(default_factory=list)  # type: ignore[type-arg]
    order: count = field(default_factory=count)  # type: ignore[type-arg]
    started: list[tuple[float, str, int]] = field(default_factory=list)
    tasks: list[EndedTask] = field(default_factory=list)

    def at(self, at_s: float, callback) -> None:  # type: ignore[no-untyped-def]
        heappush(self.heap, (max(at_s, self.now_s), next(self.order), callback))

    def run(self, requests: list[Request]) -> ClosedLoop:
        loop = ClosedLoop(self.at, self._start, self.tasks.append)
        self.loop = loop
        for request in requests:
            self.until(request.arrival_s)
            loop.offer(request)
        self.until(float("inf"))
        loop.check_ended()
        return loop

    def until(self, end_s: float) -> None:
        while self.heap and self.heap[0][0] <= end_s:
            self.now_s, _, callback = heappop(self.heap)
            callback(self.now_s)

    def _start(self, request: Request) -> None:
        assert request.turn is not None
        assert request.arrival_s == pytest.approx(self.now_s)
        self.started.append((self.now_s, request.turn.session, request.turn.number))
        self.at(self.now_s + self.answer_s, lambda at_s: self.loop.ended(request, at_s, True))


def test_a_turn_comes_a_pause_after_the_answer_to_the_one_before() -> None:
    world = World(answer_s=7.0)
    last = turn("t", "t", 1, 2.0, pause_s=2.0, ends_session=True, ends_task=True)
    world.run([turn("t", "t", 0), last])
    assert world.started == [(0.0, "t", 0), (9.0, "t", 1)]
    assert world.tasks == [EndedTask("t", "agent", 0.0, 16.0, 2, True)]


def test_a_faster_answer_brings_the_next_turn_earlier() -> None:
    requests = [turn("t", "t", 0), turn("t", "t", 1, 2.0, pause_s=2.0, ends_session=True, ends_task=True)]
    slow, fast = World(10.0), World(0.5)
    slow.run(requests)
    fast.run(requests)
    assert (slow.started[1][0], fast.started[1][0]) == (12.0, 2.5)


def test_an_unknown_pause_keeps_the_recorded_time_but_not_before_the_answer() -> None:
    requests = [turn("t", "t", 0), turn("t", "t", 1, 5.0, pause_s=None, ends_session=True, ends_task=True)]
    for answer_s, start_s in ((1.0, 5.0), (8.0, 8.0)):
        world = World(answer_s)
        world.run(requests)
        assert world.started[1][0] == start_s


def test_a_parent_waits_for_its_children_and_not_for_what_it_left_alone() -> None:
    child = {"parent": ("t", 0), "ends_session": True}
    requests = [
        turn("t", "t", 0),
        turn("t", "a", 0, 1.0, pause_s=1.0, **{**child, "ends_session": False}),
        turn("t", "b", 0, 1.0, pause_s=1.0, **child),
        turn("t", "c", 0, 1.0, pause_s=100.0, detached=True, **child),
        turn("t", "a", 1, 5.0, pause_s=4.0, ends_session=True, parent=("t", 0)),
        turn("t", "t", 1, 6.0, pause_s=1.0, ends_session=True, ends_task=True),
    ]
    world = World(answer_s=2.0)
    world.run(requests)
    starts = {(session, number): at_s for at_s, session, number in world.started}
    assert starts == {("t", 0): 0, ("a", 0): 3, ("b", 0): 3, ("a", 1): 9, ("t", 1): 12, ("c", 0): 102}
    assert [(task.end_s, task.requests) for task in world.tasks] == [(104.0, 6)]


def test_a_failed_turn_lets_its_session_go_on_and_marks_the_task() -> None:
    gate = TurnGate()
    first, second = turn("t", "t", 0), turn("t", "t", 1, 1.0, pause_s=1.0, ends_session=True, ends_task=True)
    assert gate.offer(first) == 0.0
    assert gate.offer(second) is None
    released, task = gate.ended(first, 3.0, False)
    assert [start_s for start_s, _ in released] == [4.0]
    assert task is None
    _, task = gate.ended(second, 5.0, True)
    assert task is not None
    assert not task.completed
    assert gate.tasks == gate.held == 0


def test_a_session_without_its_first_turn_is_a_bug_of_the_reader() -> None:
    with pytest.raises(InvariantError, match="its first turn is missing"):
        TurnGate().offer(turn("t", "t", 1))


@st.composite
def forests(draw: st.DrawFn) -> list[Request]:
    """Tasks of sessions in order of earliest arrival; children hang on random turns."""
    plans: list[tuple[float, int, Request]] = []
    order = count()
    for number in range(draw(st.integers(1, 4))):
        task, start_s = f"t{number}", draw(st.floats(0, 20))
        requests: list[Request] = []
        earliest_s = start_s
        turns = draw(st.integers(1, 4))
        for index in range(turns):
            pause_s = draw(st.floats(0, 5)) if index else 0.0
            earliest_s += pause_s
            requests.append(turn(task, task, index, earliest_s, pause_s=pause_s, ends_session=index == turns - 1))
            for child in range(draw(st.integers(0, 2))):
                wait_s = draw(st.floats(0, 5))
                name = f"{task}/{index}.{child}"
                detached = draw(st.booleans())
                at_s = requests[-1 - child].arrival_s + wait_s if detached else earliest_s + wait_s
                at_s = max(at_s, earliest_s)
                more = {"parent": (task, index), "detached": detached, "ends_session": True}
                requests.append(turn(task, name, 0, at_s, pause_s=at_s - earliest_s, **more))
            earliest_s = max([earliest_s] + [r.arrival_s for r in requests if r.turn and not r.turn.detached])
        requests.sort(key=lambda request: request.arrival_s)
        last = requests[-1]
        assert last.turn is not None
        requests[-1] = replace(last, turn=replace(last.turn, ends_task=True))
        plans += [(request.arrival_s, next(order), request) for request in requests]
    return [request for _, _, request in sorted(plans, key=lambda plan: plan[:2])]


@given(forests(), st.floats(0.01, 30))
def test_every_turn_starts_once_never_before_its_earliest_time_and_every_task_ends(
    requests: list[Request], answer_s: float
) -> None:
    world = World(answer_s)
    world.run(requests)
    starts = {(session, number): at_s for at_s, session, number in world.started}
    assert len(starts) == len(world.started) == len(requests)
    for request in requests:
        assert request.turn is not None
        at_s = starts[request.turn.session, request.turn.number]
        assert at_s >= request.arrival_s - 1e-9
        if request.turn.number:
            waited_for = [starts[request.turn.session, request.turn.number - 1]]
            waited_for += [
                starts[other.turn.session, 0]
                for other in requests
                if other.turn
                and not other.turn.detached
                and other.turn.parent is not None
                and other.turn.parent[0] == request.turn.session
                and other.turn.parent[1] < request.turn.number
            ]
            assert at_s >= max(waited_for) + answer_s - 1e-6
    assert sum(task.requests for task in world.tasks) == len(requests)
    assert len(world.tasks) == len({request.turn.task for request in requests if request.turn})
