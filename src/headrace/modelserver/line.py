"""Who waits for room in a server that preempts, in the order in which they are let in.

First whose KV is elsewhere (swapped out, or received), then who was preempted by recompute, then who has never run;
each in order of arrival.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain
from operator import attrgetter
from typing import Final

from headrace.modelserver.pages import PagedSequence

BY_ARRIVAL: Final = attrgetter("number")


class Line:
    """Three queues, one after the other."""

    def __init__(self) -> None:
        self._resuming: list[PagedSequence] = []
        self._preempted: list[PagedSequence] = []
        self._new: OrderedDict[int, PagedSequence] = OrderedDict()

    def __len__(self) -> int:
        return len(self._resuming) + len(self._preempted) + len(self._new)

    def __iter__(self) -> Iterator[PagedSequence]:
        return chain(self._resuming, self._preempted, self._new.values())

    @property
    def first(self) -> PagedSequence | None:
        """Who is next; None when nobody waits."""
        return next(iter(self), None)

    def add(self, sequence: PagedSequence) -> None:
        """A new job, at the end; or one that was preempted, to its place by arrival."""
        if sequence.resumes:
            insort(self._resuming, sequence, key=BY_ARRIVAL)
        elif sequence.admitted:
            insort(self._preempted, sequence, key=BY_ARRIVAL)
        else:
            self._new[sequence.job_id] = sequence

    def remove(self, sequence: PagedSequence) -> None:
        """Take out somebody who waits; as long as nothing else has changed of it since `add`."""
        if sequence.resumes:
            self._resuming.remove(sequence)
        elif sequence.admitted:
            self._preempted.remove(sequence)
        else:
            del self._new[sequence.job_id]
