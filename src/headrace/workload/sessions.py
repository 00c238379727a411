"""Holding turns back: what every driver of closed-loop traffic needs, without a clock or a socket.

A driver offers each turn when the stream brings it, and says when a turn has ended. It is told when a turn may start:
at once, or later, when what the turn waits for has ended (`workload.request` has the rule). A turn that failed counts
as ended: its user goes on, so that every request of a trace comes exactly once whatever the fleet did, and runs over
the same trace stay comparable; the task is marked as not completed.

Memory follows the tasks under way: a task is forgotten when its last request has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from headrace.errors import InvariantError
from headrace.workload.request import Request, Turn


@dataclass(frozen=True, slots=True)
class EndedTask:
    """A task that is over: from the start of its first turn to the end of its last one, tools and children included.

    Attributes:
        completed: every one of its requests was.
    """

    task: str
    workload_class: str
    start_s: float
    end_s: float
    requests: int
    completed: bool


class _Session:
    __slots__ = ("answered", "children", "children_end_s", "ends_s", "held", "number", "parent")

    def __init__(self, parent: _Session | None, number: int) -> None:
        self.parent = parent  # the session that waits for this one, from its turn `number` + 1 on
        self.number = number
        self.ends_s: list[float] = []
        self.held: deque[Request] = deque()
        self.children: dict[int, int] = {}  # sessions that are not over, by the turn they hang on
        self.children_end_s = 0.0
        self.answered = False  # its last turn has ended


class _Task:
    __slots__ = ("closed", "completed", "pending", "requests", "sessions", "start_s")

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.sessions: dict[str, _Session] = {}
        self.pending = 0
        self.requests = 0
        self.completed = True
        self.closed = False


class TurnGate:
    """Says when turns may start.

    Attributes:
        held: turns that were offered and wait.
    """

    def __init__(self) -> None:
        self.held = 0
        self._tasks: dict[str, _Task] = {}

    @property
    def tasks(self) -> int:
        """Tasks under way."""
        return len(self._tasks)

    def offer(self, request: Request) -> float | None:
        """Take the stream's next turn; returns when it starts, or None while it has to wait.

        Raises:
            InvariantError: its session lacks an earlier turn, or its parent is unknown. Readers see to that.
        """
        turn = _turn(request)
        task = self._tasks.get(turn.task)
        if task is None:
            task = self._tasks[turn.task] = _Task(request.arrival_s)
        session = task.sessions.get(turn.session) or _opened(task, turn)
        task.pending += 1
        task.requests += 1
        task.closed = turn.ends_task
        start_s = None if session.held else _start_s(task, session, request)
        if start_s is None:
            session.held.append(request)
            self.held += 1
        return start_s

    def ended(
        self, request: Request, now_s: float, completed: bool
    ) -> tuple[list[tuple[float, Request]], EndedTask | None]:
        """Say that a turn has ended, in whatever way.

        Returns:
            (the turns that may start now, each with its start), and the task if this was its last request.
        """
        turn = _turn(request)
        task = self._tasks[turn.task]
        session = task.sessions[turn.session]
        session.ends_s.append(now_s)
        session.answered = turn.ends_session
        task.completed &= completed
        task.pending -= 1
        _tell_parents(session, now_s)
        released = self._released(task)
        if task.pending or not task.closed:
            return released, None
        del self._tasks[turn.task]
        return released, EndedTask(
            turn.task, request.workload_class, task.start_s, now_s, task.requests, task.completed
        )

    def _released(self, task: _Task) -> list[tuple[float, Request]]:
        released = []
        for session in task.sessions.values():
            start_s = _start_s(task, session, session.held[0]) if session.held else None
            if start_s is not None:
                released.append((start_s, session.held.popleft()))
                self.held -= 1
        return released


class ClosedLoop:
    """Starts the turns of sessions at their times, whatever keeps the time.

    Args:
        at: calls a function at a time in seconds of the workload, with that time.
        start: starts a turn, now; its `arrival_s` is the time that `at` was asked for.
        on_task: told of every task that is over.

    Attributes:
        last_start_s: when the latest turn started.
        scheduled: turns that have a time and have not started.
    """

    def __init__(
        self,
        at: Callable[[float, Callable[[float], None]], None],
        start: Callable[[Request], None],
        on_task: Callable[[EndedTask], None] | None = None,
    ) -> None:
        self.last_start_s = 0.0
        self.scheduled = 0
        self._at = at
        self._start_turn = start
        self._on_task = on_task
        self._gate = TurnGate()

    @property
    def waiting(self) -> int:
        """Turns that were offered and have not started."""
        return self.scheduled + self._gate.held

    def offer(self, request: Request) -> None:
        """Take a turn from the stream; it starts now or later."""
        start_s = self._gate.offer(request)
        if start_s is not None:
            self._schedule(start_s, request)

    def ended(self, request: Request, now_s: float, completed: bool) -> None:
        """A turn has ended: what waited for it gets its time."""
        released, task = self._gate.ended(request, now_s, completed)
        for start_s, turn in released:
            self._schedule(start_s, turn)
        if task is not None and self._on_task is not None:
            self._on_task(task)

    def check_ended(self) -> None:
        """Raises InvariantError: turns still wait although nothing is on its way."""
        if self.waiting:
            raise InvariantError(f"{self.waiting} turns wait for turns that never came: look at the trace's reader")

    def _schedule(self, start_s: float, request: Request) -> None:
        self.scheduled += 1
        self._at(start_s, lambda _: self._start(start_s, request))

    def _start(self, start_s: float, request: Request) -> None:
        self.scheduled -= 1
        self.last_start_s = max(self.last_start_s, start_s)
        self._start_turn(replace(request, arrival_s=start_s))


def _turn(request: Request) -> Turn:
    if request.turn is None:
        raise InvariantError(f"sessions: a request without a turn was offered: {request}")
    return request.turn


def _opened(task: _Task, turn: Turn) -> _Session:
    if turn.number:
        raise InvariantError(f"sessions: {turn.session} begins at turn {turn.number}: its first turn is missing")
    parent = None
    if turn.parent is not None:
        parent = task.sessions.get(turn.parent[0])
        if parent is None:
            raise InvariantError(f"sessions: {turn.session} comes before its parent {turn.parent[0]}")
        if turn.detached:
            parent = None
        else:
            parent.children[turn.parent[1]] = parent.children.get(turn.parent[1], 0) + 1
    session = task.sessions[turn.session] = _Session(parent, 0 if turn.parent is None else turn.parent[1])
    return session


def _start_s(task: _Task, session: _Session, request: Request) -> float | None:
    turn = _turn(request)
    if turn.number:
        if len(session.ends_s) < turn.number or any(number < turn.number for number in session.children):
            return None
        ready_s = max(session.ends_s[-1], session.children_end_s)
    elif turn.parent is not None:
        ends_s = task.sessions[turn.parent[0]].ends_s
        if len(ends_s) <= turn.parent[1]:
            return None
        ready_s = ends_s[turn.parent[1]]
    else:
        return request.arrival_s
    return max(request.arrival_s, ready_s) if turn.pause_s is None else ready_s + turn.pause_s


def _tell_parents(session: _Session, now_s: float) -> None:
    """A session is over when its last turn and its children are; who waits for it is told once."""
    while session.answered and not session.children and session.parent is not None:
        parent, session.parent = session.parent, None
        left = parent.children.pop(session.number) - 1
        if left:
            parent.children[session.number] = left
        parent.children_end_s = max(parent.children_end_s, now_s)
        session = parent
