"""Could anybody have kept the share in this window? An independent check that knows the true sizes.

A window holds items of work. Some must go to the share's pools, some cannot, the rest is free. Let W be all work, the
band [low, high] = (target -+ tolerance) * W, cut at what the share's pools can hold. The window is feasible if a subset
of the free items, added to what must be inside, falls into the band. In general that is a subset sum, but:

**Small items do not matter one by one.** Call an item small if it is at most `high - low`. Take any start s <= high
with s + (all small items) >= low and add small items one at a time: the first partial sum that reaches `low` is either
s itself or at most low + (high - low) = high. So it lies in the band. Hence the window is feasible *if and only if*
some subset of the large items brings the sum into [low - small work, high].

**Few items are large.** Without a capacity cut each is over 1 % of W, so there are fewer than 100. Their subset sums
are computed as the bits of one big integer, items rounded down to a grid of W * 2**-22. The true sum of m items exceeds
the rounded one by less than m grid steps; a window is called infeasible only if no sum within that bound fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from headrace.sums import float_sum

_GRID_BITS: Final = 22
_MOST_LARGE_ITEMS: Final = 1000  # more than that is never called infeasible
_ROUNDING: Final = 1e-9  # relative slack for sums of floats


class Reason(StrEnum):
    """Why a window cannot meet its share, whoever decides."""

    ROUTE = "route"  # routes and up/down states leave too little choice
    OUTAGE = "outage"  # pools on one side were down for longer than the rest may make up for
    CAPACITY = "capacity"  # the share's pools cannot hold that much
    GRANULARITY = "granularity"  # single items are too large for the band


@dataclass(frozen=True, slots=True)
class Infeasible:
    """The proof's kind, and its figures for people."""

    reason: Reason
    why: str


@dataclass(frozen=True, slots=True)
class WindowWork:
    """The work of one window, in the share's unit.

    Attributes:
        must_inside: work that had no eligible pool outside the share; `must_outside`: none inside.
        free: sizes of the items that could go to either side.
        capacity: most work that the share's pools can hold in the window; None: no bound is known.
    """

    must_inside: float
    must_outside: float
    free: Sequence[float]
    capacity: float | None = None


@dataclass(frozen=True, slots=True)
class WindowDebt:
    """One window of a share whose work depends on where a request goes.

    The *use* of an item is (1 - target) * its work inside, or -target * its work outside; the share is within its
    tolerance where the uses add up to no more than tolerance * all work, above or below zero. Several pools on one side
    make a range of uses, of which only the ends are kept: a window is called infeasible too seldom, never too often.

    Attributes:
        least: sum of the lowest uses, with every free item outside.
        slack: sum over items of how far a use can lie above its lowest on the same side.
        steps: by how much a free item that goes inside raises the lowest sum, at least.
        most_work: all work, where every item counts as much as it can.
    """

    least: float
    slack: float
    steps: Sequence[float]
    most_work: float


def why_out_of_reach(window: WindowDebt, tolerance: float) -> Infeasible | None:
    """Prove that no assignment keeps the share within `tolerance`; None when there may be one."""
    band = (tolerance + _ROUNDING) * window.most_work
    highest = window.least + window.slack + sum(window.steps)
    if highest < -band:
        why = f"with all that may go to the share's pools it is {-100 * highest / window.most_work:.3g} points short"
        return Infeasible(Reason.ROUTE, why)
    if window.least > band:
        why = f"with all that can go elsewhere it is {100 * window.least / window.most_work:.3g} points beyond"
        return Infeasible(Reason.ROUTE, why)
    if _reachable(window.least, window.steps, -band - window.slack, band, window.most_work):
        return None
    return Infeasible(Reason.GRANULARITY, "no set of items adds up to the target")


def surely_feasible(
    must_inside: float, must_outside: float, free: float, largest: float, target: float, tolerance: float
) -> bool:
    """Whether the sums alone prove that a window can be met where the share's pools hold everything.

    Free items that are each no larger than the band cannot step over it: adding them one by one reaches it.

    Args:
        free: sum of the items that could go to either side; `largest`: the largest of them.
    """
    total = must_inside + must_outside + free
    low, high = (target - tolerance) * total, (target + tolerance) * total
    return must_inside <= high and must_inside + free >= low and largest <= high - low


def why_infeasible(window: WindowWork, target: float, tolerance: float) -> Infeasible | None:
    """Prove that no assignment puts the share within `tolerance` of `target`; None when there may be one.

    Args:
        target, tolerance: fractions of the window's work.
    """
    free = float_sum(window.free)
    total = window.must_inside + window.must_outside + free
    if total <= 0:
        return None
    low = (target - tolerance - _ROUNDING) * total
    high = (target + tolerance + _ROUNDING) * total
    bound = _out_of_reach(window, free, total, low, high)
    if bound is not None:
        return bound
    ceiling = high if window.capacity is None else min(high, window.capacity * (1 + _ROUNDING))
    if _reachable(window.must_inside, window.free, low, ceiling, total):
        return None
    largest = max(window.free) / total
    why = f"no set of items adds up to the target; the largest is {100 * largest:.3g} % of the work"
    return Infeasible(Reason.GRANULARITY, why)


def _out_of_reach(window: WindowWork, free: float, total: float, low: float, high: float) -> Infeasible | None:
    """The whole range of possible shares lies beside the band."""
    inside = window.must_inside
    if inside + free < low:
        why = f"only {100 * (inside + free) / total:.3g} % of the work may go to the share's pools"
        return Infeasible(Reason.ROUTE, why)
    if inside > high:
        return Infeasible(Reason.ROUTE, f"{100 * inside / total:.3g} % of the work can go nowhere else")
    if window.capacity is not None and window.capacity * (1 + _ROUNDING) < low:
        return Infeasible(Reason.CAPACITY, f"the share's pools hold {100 * window.capacity / total:.3g} % of the work")
    return None


def _reachable(start: float, items: Sequence[float], low: float, high: float, total: float) -> bool:
    """Whether `start` plus some of `items` may fall into [low, high]. False is proven."""
    if start > high:
        return False
    width = high - low
    large = sorted((item for item in items if item > width), reverse=True)
    low -= float_sum(item for item in items if item <= width)
    if len(large) > _MOST_LARGE_ITEMS or _greedy(start, large, high) >= low:
        return True
    return _some_sum(large, low - start, high - start, total * 2.0**-_GRID_BITS)


def _greedy(start: float, large_first: Sequence[float], high: float) -> float:
    """Largest first, everything that still fits: nearly always enough."""
    reached = start
    for item in large_first:
        if reached + item <= high:
            reached += item
    return reached


def _some_sum(items: Sequence[float], low: float, high: float, grid: float) -> bool:
    """Whether a sum of some items may lie in [low, high], up to rounding on `grid`. False is proven."""
    first = max(int(low / grid) - len(items) - 1, 0)
    last = int(high / grid) + 1
    mask = (1 << (last + 1)) - 1
    sums = 1
    for item in items:
        sums |= (sums << int(item / grid)) & mask
    return sums >> first != 0
