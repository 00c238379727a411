"""The waiting room: requests that found no free backend, in the order in which they are served.

    set of candidates   who may go to the same backends waits together: a full pool holds up nobody else
      workload class    the one whose first is worth most per second of work goes first, and more so the longer it waits
        tenant          by deficit round robin on tokens
          request       first come first served; who was sent away by a full backend comes before later arrivals

Worth is value of time / seconds of work, which minimises the value lost by waiting where one serves many (the c-mu
rule). It grows while a request waits, to twice at its due time. Between tenants of a class the round gives `QUANTUM`
tokens to each in turn, and what a request needs is saved up: over an interval in which two tenants always wait, and
which begins with empty accounts, what they were served differs by at most a quantum and the largest request.

How fast a class is served is measured here: from it follows how long a newcomer would wait, and when it should come
back. A class that has waited without a break is overloaded, however short its queue is (`Admission`); a moment in which
nobody waits, because those who did have given up, is no break.

The rule that it protects: the room is bounded, in requests and in bytes; who leaves early is forgotten at once.

Source: D. Cox and W. Smith, "Queues" (1961), for the order of classes; M. Shreedhar and G. Varghese, "Efficient Fair
Queueing using Deficit Round Robin", SIGCOMM (1995).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import exp, inf
from typing import Final

from headrace.policy.pricing import BackendState
from headrace.policy.state import RequestState

QUANTUM: Final = 8192.0  # tokens of a tenant's turn
MEMORY_S: Final = 10.0  # of the rate at which a line is served
ENOUGH: Final = 5  # requests served before a rate is known
BREAK_S: Final = 1.0  # for which a line is empty before it is a new one
MAX_EMPTY: Final = 256  # lines that are remembered
SPARE_ENTRIES: Final = 64  # of a heap, beyond twice what waits

Key = tuple[BackendState, ...]


class DrainRate:
    """Requests served per second, of late."""

    __slots__ = ("_at_s", "_begun_s", "_count", "_served")

    def __init__(self, now_s: float) -> None:
        self._begun_s = self._at_s = now_s
        self._count = 0.0
        self._served = 0

    def served(self, now_s: float) -> None:
        """One more was served."""
        self._count = self._count * exp((self._at_s - now_s) / MEMORY_S) + 1.0
        self._at_s = now_s
        self._served += 1

    def per_s(self, now_s: float) -> float | None:
        """The rate; None: too few were served to know."""
        if self._served < ENOUGH or now_s <= self._begun_s:
            return None
        seen_s = MEMORY_S * (1.0 - exp((self._begun_s - now_s) / MEMORY_S))
        return self._count * exp((self._at_s - now_s) / MEMORY_S) / seen_s


class TenantLine:
    """Those of one tenant, in one class and with the same choices.

    Attributes:
        of: the line of the class.
        waiting: how many wait.
        deficit: tokens that it has saved up. begun: its turn has come, and it was given its quantum.
    """

    __slots__ = ("_heap", "begun", "deficit", "of", "tenant", "waiting")

    def __init__(self, of: ClassLine, tenant: str) -> None:
        self.of = of
        self.tenant = tenant
        self.waiting = 0
        self.deficit = 0.0
        self.begun = False
        self._heap: list[tuple[float, int, RequestState]] = []

    def enter(self, request: RequestState) -> None:
        """Wait here, before all who came later."""
        request.line = self
        heappush(self._heap, (request.arrived_s, request.request_id, request))
        self.waiting += 1

    def left(self) -> None:
        """One of them waits no more."""
        self.waiting -= 1
        if len(self._heap) > 2 * self.waiting + SPARE_ENTRIES:
            self._heap = list({entry[1]: entry for entry in self._heap if self._waits(entry[2])}.values())
            heapify(self._heap)

    def first(self) -> RequestState:
        """Who came first. There must be somebody."""
        while not self._waits(self._heap[0][2]):
            heappop(self._heap)
        return self._heap[0][2]

    def last(self) -> RequestState:
        """Who came last. There must be somebody."""
        return max((entry for entry in self._heap if self._waits(entry[2])), key=lambda entry: entry[:2])[2]

    def requests(self) -> list[RequestState]:
        """Everybody in it."""
        return list({entry[1]: entry[2] for entry in self._heap if self._waits(entry[2])}.values())

    def _waits(self, request: RequestState) -> bool:
        return request.queued_s is not None and request.line is self


class ClassLine:
    """Those of one class with the same choices.

    Attributes:
        since_s: when the first of them came: somebody has waited ever since. `empty_s`: since when nobody does.
        waiting: how many wait.
        rate: how fast they are served.
        hurried: it was found to be overloaded.
    """

    __slots__ = ("_round", "empty_s", "hurried", "key", "name", "rate", "since_s", "tenants", "waiting")

    def __init__(self, key: Key, name: str, now_s: float) -> None:
        self.key = key
        self.name = name
        self.since_s = now_s
        self.empty_s = inf
        self.waiting = 0
        self.rate = DrainRate(now_s)
        self.hurried = False
        self.tenants: dict[str, TenantLine] = {}
        self._round: deque[TenantLine] = deque()

    def enter(self, request: RequestState) -> None:
        """Wait in the line of its tenant."""
        line = self.tenants.get(request.tenant)
        if line is None:
            line = self.tenants[request.tenant] = TenantLine(self, request.tenant)
            self._round.append(line)
        line.enter(request)
        self.waiting += 1

    def leave(self, now_s: float, line: TenantLine, request: RequestState, served: bool) -> None:
        """One of them waits no more; `served`: it was dispatched."""
        if served:
            self.rate.served(now_s)
            if len(self._round) > 1:
                line.deficit -= tokens_of(request)
        self.waiting -= 1
        line.left()
        if not line.waiting:
            del self.tenants[line.tenant]
            self._round.remove(line)

    def first(self) -> RequestState:
        """Whose turn it is. There must be somebody."""
        turns = self._round
        if len(turns) == 1:
            turns[0].deficit, turns[0].begun = 0.0, False  # alone: nothing is saved up
            return turns[0].first()
        while True:
            line = turns[0]
            head = line.first()
            if not line.begun:
                line.deficit += QUANTUM
                line.begun = True
            if line.deficit >= tokens_of(head):
                return head
            line.begun = False
            turns.rotate(-1)

    def worth(self, now_s: float) -> float:
        """Of the one whose turn it is: USD per second of work, and more the longer it has waited."""
        head = self.first()
        return head.density * (1.0 + _waited(now_s, head))

    def wait_s(self, now_s: float, tenant: str) -> float | None:
        """Seconds that a newcomer of this tenant would wait at the rate of late; None: the rate is not known."""
        rate = self.rate.per_s(now_s)
        if rate is None:
            return None
        own = self.tenants.get(tenant)
        turns = len(self.tenants) + (own is None)
        ahead = min(self.waiting, (0 if own is None else own.waiting) * turns)
        return (ahead + 1) / rate if rate > 0.0 else inf

    def requests(self) -> list[RequestState]:
        """Everybody in it."""
        return [request for line in self.tenants.values() for request in line.requests()]


class WaitingRoom:
    """Everybody who waits.

    Attributes:
        waiting: requests in the room; `held_bytes`: what they hold in memory.
    """

    __slots__ = ("_dues", "_empty", "_entered", "_lines", "held_bytes", "waiting")

    def __init__(self) -> None:
        self._lines: dict[Key, dict[str, ClassLine]] = {}
        self._empty: OrderedDict[tuple[Key, str], ClassLine] = OrderedDict()  # those of late
        self._dues: list[tuple[float, int, RequestState]] = []  # a heap; who has left is passed over
        self._entered = 0
        self.held_bytes = 0
        self.waiting = 0

    def line(self, now_s: float, request: RequestState) -> ClassLine | None:
        """The line that a request would join; None: nobody like it waits, nor did a moment ago."""
        key, name = request.candidates.untried(request.tried), request.workload_class.name
        found = self._lines.get(key, {}).get(name) or self._empty.get((key, name))
        return None if found is None or now_s - found.empty_s > BREAK_S else found

    def goes_first(self, now_s: float, request: RequestState) -> bool:
        """Whether nobody waits who has the same choices and goes before a newcomer."""
        classes = self._lines.get(request.candidates.untried(request.tried))
        if classes is None:
            return True
        if request.workload_class.name in classes:
            return False
        return all(density(request) > line.worth(now_s) for line in classes.values())

    def enter(self, now_s: float, due_s: float, request: RequestState) -> None:
        """Wait until somebody is free, or until `due_s`."""
        key, name = request.candidates.untried(request.tried), request.workload_class.name
        request.queued_s, request.density = now_s, density(request)
        classes = self._lines.setdefault(key, {})
        line = classes.get(name)
        if line is None:
            line = classes[name] = self._opened(now_s, key, name)
        line.enter(request)
        self.waiting += 1
        self.held_bytes += request.held_bytes
        self.give(request, due_s)

    def _opened(self, now_s: float, key: Key, name: str) -> ClassLine:
        """A new line, or the one that has been empty for a moment only."""
        line = self._empty.pop((key, name), None)
        if line is None or now_s - line.empty_s > BREAK_S:
            return ClassLine(key, name, now_s)
        line.empty_s = inf
        return line

    def give(self, request: RequestState, due_s: float) -> None:
        """One that waits may wait until then."""
        request.due_s = due_s
        self._entered += 1
        heappush(self._dues, (due_s, self._entered, request))
        if len(self._dues) > 2 * self.waiting + SPARE_ENTRIES:
            self._dues = [entry for entry in self._dues if _is_due(*entry)]
            heapify(self._dues)

    def leave(self, now_s: float, request: RequestState, served: bool = False) -> None:
        """Wait no more; nothing happens if it does not wait. `served`: it was dispatched."""
        line = request.line
        if request.queued_s is None or line is None:
            return
        request.queued_s, request.line = None, None
        self.waiting -= 1
        self.held_bytes -= request.held_bytes
        of = line.of
        of.leave(now_s, line, request, served)
        if not of.waiting:
            classes = self._lines[of.key]
            of.empty_s = now_s
            self._empty[of.key, of.name] = classes.pop(of.name)
            if len(self._empty) > MAX_EMPTY:
                self._empty.popitem(last=False)
            if not classes:
                del self._lines[of.key]

    def heads(self, now_s: float) -> Iterator[RequestState]:
        """The first of each line, the most valuable first; while the caller makes it leave, the next one follows."""
        lines = list(self._lines.values())
        if len(lines) > 1:
            lines.sort(key=lambda classes: -_first_of(now_s, classes).worth(now_s))
        for classes in lines:
            while classes:
                head = _first_of(now_s, classes).first()
                yield head
                if head.queued_s is not None:
                    break

    def fronts(self, now_s: float) -> list[tuple[Key, RequestState]]:
        """Who is next in each line, with the backends that it may go to."""
        return [(key, _first_of(now_s, classes).first()) for key, classes in self._lines.items()]

    def cheapest(self) -> ClassLine | None:
        """The line whose next is worth least; None if nobody waits."""
        lines = [line for classes in self._lines.values() for line in classes.values()]
        return min(lines, key=lambda line: line.first().density, default=None)

    def next_due_s(self) -> float | None:
        """When the first of those who wait will have waited too long; None if nobody waits."""
        dues = self._dues
        while dues and not _is_due(*dues[0]):
            heappop(dues)
        return dues[0][0] if dues else None

    def overdue(self, now_s: float) -> list[RequestState]:
        """Who has waited too long, in the order in which they were due."""
        late = []
        while (due_s := self.next_due_s()) is not None and due_s <= now_s:
            request = heappop(self._dues)[2]
            request.due_s = inf  # it may be there twice: it came back with the same deadline
            late.append(request)
        return late


def tokens_of(request: RequestState) -> float:
    """What a request counts for in the round: input tokens, and output tokens as predicted."""
    return request.input_tokens + request.expected_output_tokens


def density(request: RequestState) -> float:
    """Value of time per second of work, in USD: on the first of its candidates, alone there."""
    backends = request.candidates.backends
    work_s = backends[0].alone_s(request.input_tokens, request.expected_output_tokens) if backends else 1.0
    return request.workload_class.value_of_time_usd_per_s / max(work_s, 1e-9)


def _first_of(now_s: float, classes: dict[str, ClassLine]) -> ClassLine:
    """The class that goes first."""
    if len(classes) == 1:
        return next(iter(classes.values()))
    return max(classes.values(), key=lambda line: line.worth(now_s))


def _waited(now_s: float, request: RequestState) -> float:
    """How much of the time that it may wait has passed, 0 to 1."""
    since_s = now_s if request.queued_s is None else request.queued_s
    return min((now_s - since_s) / max(request.due_s - since_s, 1e-9), 1.0)


def _is_due(due_s: float, number: int, request: RequestState) -> bool:
    return request.queued_s is not None and request.due_s == due_s
