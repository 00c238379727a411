"""What the open windows allow: the range in which a share's debt has to stay.

A share is judged in sliding windows. With D(t) the debt of the share's pools, that is the work they got above their
target, and W the work of everybody in a window that runs from s to e, its deviation from the target is

    (D(e) - D(s)) / W

Of the windows that close next, D(s) is known and so is nearly all of W. So D has to be, when they close, within

    D(s) -+ SAFETY * TOLERANCE * W        for every window that closes within the next LOOK_AHEAD bins
         -+ BAND * TOLERANCE * W'         for the windows that begin now; W' is the work of the window behind

The second rule alone would do, with half of the tolerance, if every window had as much work as the one before it: two
debts that are each within half are never further apart than the whole. The first rule is for traffic that wanes, where
a debt that was small against its own window is large against the next one; with it, the second can be a little wider.
Where the ranges do not meet, no debt is right for all of them, and the middle is kept.

Debt is booked at dispatch with a predicted length. When the real one is known, the window of the *dispatch* is what has
to be mended, so the history is corrected from there on.
"""

from __future__ import annotations

from typing import Final

from headrace.sums import float_sum

WINDOW_S: Final = 300.0
BIN_S: Final = 10.0
BINS: Final = int(WINDOW_S / BIN_S)
TOLERANCE: Final = 0.005
BAND: Final = 0.6  # of the tolerance
SAFETY: Final = 0.65  # of the tolerance: the rest is for lengths that turn out otherwise
LEAST_BAND: Final = 0.2  # of the tolerance: a narrower range would throw requests from side to side
LOOK_AHEAD: Final = 2  # bins
RECENT: Final = 6  # bins
STARVING: Final = 3  # bins
STARVED: Final = 0.2  # of their target
WARM_UP_S: Final = 30.0


class OpenWindows:
    """Work and debt of the last window, in bins, and the range of debt that follows from them.

    Attributes:
        work: everybody's work in the last `WINDOW_S`, in the share's unit.
        centre: middle of the range in which the debt has to be.
        range_of_work: half of that range, as a fraction of `work`.
        starved: of late the share's pools got next to nothing; while they are down, say.
        missing: work of a whole window over `work`: what the first one has seen of it, at the same pace to its end.
    """

    __slots__ = (
        "_debts",
        "_first_bin",
        "_insides",
        "_last_bin",
        "_target",
        "_works",
        "centre",
        "missing",
        "range_of_work",
        "starved",
        "work",
    )

    def __init__(self, target: float) -> None:
        self._target = target
        self.starved = False
        self.work = 0.0
        self.centre = 0.0
        self._works = [0.0] * BINS
        self._insides = [0.0] * BINS
        self._debts = [0.0] * BINS  # at the start of each bin
        self._first_bin: int | None = None
        self._last_bin = -1
        self.missing = WINDOW_S / WARM_UP_S
        self.range_of_work = BAND * TOLERANCE * self.missing

    @property
    def half_width(self) -> float:
        """Half of the range of debt, in units of work."""
        return self.range_of_work * self.work

    def book(self, now_s: float, work: float, debt: float, inside: bool) -> None:
        """Add `work` dispatched at `now_s`, to the share's pools or elsewhere; `debt` is what it was before."""
        index = int(now_s / BIN_S)
        if index > self._last_bin:
            self._advance(index, debt)
        self._works[self._last_bin % BINS] += work
        self.work += work
        if inside:
            self._insides[self._last_bin % BINS] += work

    def correct(self, booked_s: float, work: float, debt: float, inside: bool) -> None:
        """Add what was missing of work booked at `booked_s`, and the debt that it made; both may be negative."""
        booked, last = int(booked_s / BIN_S), self._last_bin
        if booked > last - BINS:
            self._works[booked % BINS] += work
            self.work += work
            if inside:
                self._insides[booked % BINS] += work
        debts = self._debts
        for index in range((booked if booked > last - BINS else last - BINS) + 1, last + 1):
            debts[index % BINS] += debt

    def _advance(self, index: int, debt: float) -> None:
        """Move the window to the bin of now, and the range with it."""
        if self._first_bin is None:
            self._first_bin = self._last_bin = index
        while self._last_bin < index:
            if index - self._last_bin > BINS:  # a long silence: everything is older than the window
                self._last_bin = index - BINS
            self._last_bin += 1
            slot = self._last_bin % BINS
            self.work -= self._works[slot]
            self._works[slot] = self._insides[slot] = 0.0
            self._debts[slot] = debt
        seen_s = (index - self._first_bin + 1) * BIN_S
        self.missing = WINDOW_S / min(max(seen_s, WARM_UP_S), WINDOW_S)
        self.range_of_work = BAND * TOLERANCE * self.missing
        fair = self._target * _before(self._works, index, STARVING)
        self.starved = seen_s > STARVING * BIN_S and _before(self._insides, index, STARVING) < STARVED * fair
        if seen_s > WINDOW_S and self.work > 0.0:
            self._narrow(index)

    def _narrow(self, index: int) -> None:
        """Bring the range within what the windows that close next have left."""
        works, known = self._works, self.work
        pace = min(_before(works, index, RECENT) / RECENT, known / (BINS - 1))
        high = BAND * TOLERANCE * known
        low = -high
        for ahead in range(1, LOOK_AHEAD + 1):
            begun = (index + ahead) % BINS
            room = SAFETY * TOLERANCE * (known + ahead * pace)
            high = min(high, self._debts[begun] + room)
            low = max(low, self._debts[begun] - room)
            known -= works[begun]
        self.centre = (low + high) / 2.0
        self.range_of_work = max((high - low) / 2.0 / self.work, LEAST_BAND * TOLERANCE)


def _before(works: list[float], index: int, bins: int) -> float:
    """What the last so many bins before this one hold."""
    return float_sum(works[(index - k) % BINS] for k in range(1, bins + 1))
