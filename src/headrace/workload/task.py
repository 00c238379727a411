"""Tasks side by side: from starts with their requests to one stream in order of arrival.

A *task* here is a start and its requests, with times counted from that start. They are laid side by side through a heap
that holds one pending turn a task, so memory follows what is under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from heapq import heappop, heappush
from typing import NamedTuple

from headrace.errors import TraceError
from headrace.workload.request import Request


class Task(NamedTuple):
    """A tree of sessions.

    Attributes:
        start_s: when its first request comes.
        requests: in order of `arrival_s`, which counts from `start_s`; read as late as possible, and once where a
            trace is read as it goes.
    """

    start_s: float
    id: str
    requests: Iterable[Request]


Item = Request | Task
_Pending = tuple[float, int, Request, float, Iterator[Request]]  # due when, task, its next turn, start, later turns


def flatten(items: Iterable[Item]) -> Iterator[Request]:
    """Requests and tasks laid side by side, in order of arrival; ties in the order of their start.

    Raises:
        TraceError: starts go back.
    """
    heap: list[_Pending] = []
    latest_s = 0.0
    for number, item in enumerate(items):
        start_s = item.start_s if type(item) is Task else item.arrival_s  # type: ignore[union-attr]
        if start_s < latest_s:
            raise TraceError("trace", 0, f"starts go back from {latest_s} to {start_s} s; sort the trace by time")
        latest_s = start_s
        while heap and heap[0][0] <= start_s:
            yield _next_turn(heap)
        if type(item) is Task:
            _push(heap, number, item.start_s, iter(item.requests))
        else:
            yield item  # type: ignore[misc]
    while heap:
        yield _next_turn(heap)


def _next_turn(heap: list[_Pending]) -> Request:
    at_s, number, request, start_s, later = heappop(heap)
    _push(heap, number, start_s, later)
    return replace(request, arrival_s=at_s)


def _push(heap: list[_Pending], number: int, start_s: float, requests: Iterator[Request]) -> None:
    request = next(requests, None)
    if request is not None:
        heappush(heap, (start_s + request.arrival_s, number, request, start_s, requests))
