"""The event heap: virtual time, in a total order.

Entries are ordered by (time, sequence number): what was scheduled first happens first among equals, so a run depends on
its inputs and its seed, never on how the heap broke a tie. Nothing is removed from the heap: an entry that no longer
holds is recognised by its owner when it comes up, which costs less than searching for it.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

Callback = Callable[[float], None]


class Kernel:
    """Runs callbacks at their times.

    Attributes:
        now_s: time of the entry that runs, in virtual seconds.
        events: entries run so far.
        background: entries scheduled that alone do not keep a run going.
    """

    __slots__ = ("_heap", "_sequence", "background", "events", "now_s")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callback]] = []
        self._sequence = 0
        self.now_s = 0.0
        self.events = 0
        self.background = 0

    def at(self, at_s: float, callback: Callback) -> None:
        """Run `callback(at_s)` at `at_s`; a time that has passed counts as now."""
        self._sequence += 1
        heappush(self._heap, (at_s if at_s > self.now_s else self.now_s, self._sequence, callback))

    def in_background(self, at_s: float, callback: Callback) -> None:
        """As `at`, and it alone does not keep a run going."""

        def run(now_s: float) -> None:
            self.background -= 1
            callback(now_s)

        self.background += 1
        self.at(at_s, run)

    def run_until(self, end_s: float) -> None:
        """Run every entry up to and including `end_s`, and move there."""
        heap = self._heap
        while heap and heap[0][0] <= end_s:
            at_s, _, callback = heappop(heap)
            self.now_s = at_s
            self.events += 1
            callback(at_s)
        self.now_s = max(self.now_s, end_s)

    def run(self) -> None:
        """Run until nothing but the background is left."""
        while len(self._heap) > self.background:
            self.run_until(self._heap[0][0])
