"""The price of a share: one number that makes the share come true, and nothing else.

A share says that a set of pools gets `target` of the work. The controller keeps one price, in USD per unit of work,
that every candidate inside the share's pools pays; candidates outside pay nothing. A positive price holds traffic back,
a negative one pulls it in. Nobody is told where to go: the requests for which the pools buy the most value per unit of
work are exactly those that still come at that price.

Two parts, because two things are wanted of it:

    price = level + scale * barrier((debt - centre) / half_width)

- `level` is plain dual ascent, slow: it finds the price at which `target` of the work *would choose* the share's pools.
      level += gain * scale / window_work * (would_choose - target) * work
  It is slow so that one large request does not change what the next one pays, which would cost value.
- `debt` is the work that the share's pools got above their target, booked at dispatch with the predicted length and
  trued up when the real one is known. What the sliding windows allow of it is a range (`policy/windows.py`), and the
  barrier is flat in its middle (there the level decides) and steep at its edges (there the share decides): with x the
  distance from the middle, 1 at the edge, x**3 inside the range and x**7 outside.

A request that is large against that range moves the debt far: it pays the price integrated over the debt that it moves,
so the side is chosen that leaves the smaller debt.

`scale` is the mean saving per unit of work seen so far, so that no constant here has a unit.

While the share's pools are down its debt falls, and nobody can help it. Repaid in full it would push windows off that
begin after the outage and never owed anything, and these, repaid in turn, others for as long as the gateway runs. Say
the outage left a debt of -d. Windows that began before it began at 0, those that begin after it at -d, and one debt is
within the tolerance of both as long as

    d <= 2 * tolerance

so beyond 0.6 of that (the rest is for lengths that turn out otherwise, and for traffic that wanes) it is forgiven while
the pools get next to nothing. Windows from which an outage took more than the tolerance are infeasible
(`metrics.feasible`). At other times, when one large request may take a share for minutes, only what exceeds 2.5 % of a
window's work is forgiven.

Source: dual ascent on a budget constraint, as in Balseiro, Lu, Mirrokni, "The Best of Many Worlds: Dual Mirror Descent
for Online Allocation Problems" (2020); the split into level and barrier, and both exponents, were chosen on the Azure
2023 traces (docs/decisions/2026-11-23-share-controller.md).
"""

from __future__ import annotations

from typing import Final

from headrace.fleet import Share
from headrace.metrics import Rates
from headrace.policy.windows import TOLERANCE, OpenWindows

LEVEL_GAIN: Final = 50.0
FORGIVEN: Final = 0.025  # of a window's work
FORGIVEN_STARVED: Final = 2.0 * 0.6 * TOLERANCE  # the same


def barrier(x: float) -> float:
    """Odd, flat at 0, 1 at 1, steep beyond."""
    return x * x * x if -1.0 < x < 1.0 else x**7


def potential(x: float) -> float:
    """Integral of the barrier from 0; even, continuous."""
    fourth = (x * x) * (x * x)
    return fourth / 4.0 if fourth < 1.0 else 0.25 + (fourth * fourth - 1.0) / 8.0


class ReportedShare:
    """A share that is only measured: its pools pay nothing for it.

    Attributes:
        share: what the fleet file says.
        rate: work of a request, in the share's unit: everywhere, or by pool.
        booked_inside, booked_total: work of its pools and of all, as dispatched and trued up.
    """

    __slots__ = ("booked_inside", "booked_total", "name", "rate", "share", "target")

    def __init__(self, share: Share, rate: Rates) -> None:
        self.share = share
        self.name = share.name
        self.rate = rate
        self.target = share.target
        self.booked_inside = 0.0
        self.booked_total = 0.0

    def book(self, now_s: float, work: float, inside: bool) -> None:
        """Book predicted work at its dispatch."""
        self.booked_total += work
        if inside:
            self.booked_inside += work

    def true_up(self, booked_s: float, difference: float, inside: bool) -> None:
        """Add what an attempt booked at `booked_s` really used beyond what was booked for it; may be negative."""
        self.booked_total += difference
        if inside:
            self.booked_inside += difference

    def realized(self) -> float | None:
        """Share of all work booked so far; None before any."""
        return self.booked_inside / self.booked_total if self.booked_total > 0.0 else None


class ShareController(ReportedShare):
    """Steers one share by its price.

    Attributes:
        level_usd_per_unit: slow part of the price.
        scale_usd_per_unit: mean absolute saving per unit of work, over about the last window; 0 before any choice.
        debt: work given to the share's pools above the target, in the share's unit.
    """

    __slots__ = ("_saving_usd", "_saving_work", "debt", "level_usd_per_unit", "scale_usd_per_unit", "windows")

    def __init__(self, share: Share, rate: Rates) -> None:
        super().__init__(share, rate)
        self.level_usd_per_unit = share.starting_price_usd
        self.scale_usd_per_unit = 0.0
        self.debt = 0.0
        self.windows = OpenWindows(share.target)
        self._saving_usd = 0.0
        self._saving_work = 0.0

    def price_usd_per_unit(self) -> float:
        """What a candidate inside the share's pools pays per unit of work now."""
        half_width = self.windows.half_width
        if half_width <= 0.0:
            return self.level_usd_per_unit
        distance = (self.debt - self.windows.centre) / half_width
        return self.level_usd_per_unit + self.scale_usd_per_unit * barrier(distance)

    def surcharge_usd(self, work: float) -> float:
        """What `work` pays for going inside instead of outside: the price, integrated over the debt that it moves."""
        windows, level = self.windows, self.level_usd_per_unit
        half_width = windows.range_of_work * windows.work
        if half_width <= 0.0:
            return level * work
        outside = (self.debt - windows.centre - self.target * work) / half_width
        moved = potential(outside + work / half_width) - potential(outside)
        return level * work + self.scale_usd_per_unit * half_width * moved

    def book(self, now_s: float, work: float, inside: bool) -> None:
        """Book predicted work at its dispatch."""
        self.windows.book(now_s, work, self.debt, inside)
        self._add(work, inside)

    def true_up(self, booked_s: float, difference: float, inside: bool) -> None:
        """Add what an attempt booked at `booked_s` really used beyond what was booked for it; may be negative."""
        windows, before = self.windows, self.debt
        self._add(difference, inside)
        windows.correct(booked_s, difference, self.debt - before, inside)
        whole_window = windows.missing * windows.work
        highest = FORGIVEN * whole_window
        lowest = windows.centre - (FORGIVEN_STARVED if windows.starved else FORGIVEN) * whole_window
        if self.debt > highest:
            self.debt = highest
        elif self.debt < lowest:
            self.debt = lowest

    def learn(self, saving_usd: float, work: float) -> None:
        """Move the level by one choice: `saving_usd` is the best score outside minus the best inside, price aside."""
        window_work = self.windows.work
        if work <= 0.0 or window_work <= 0.0:
            return
        self._observe(saving_usd, work, window_work)
        scale = self.scale_usd_per_unit
        would_choose = 1.0 if saving_usd > self.level_usd_per_unit * work else 0.0
        slowest = LEVEL_GAIN * work
        step = LEVEL_GAIN * scale / (window_work if window_work > slowest else slowest)
        self.level_usd_per_unit += step * (would_choose - self.target) * work

    def _observe(self, saving_usd: float, work: float, window_work: float) -> None:
        """Let the scale follow one more saving."""
        if self._saving_work >= window_work:
            keep = max(0.0, 1.0 - work / window_work)
            self._saving_usd *= keep
            self._saving_work *= keep
        self._saving_usd += saving_usd if saving_usd > 0.0 else -saving_usd
        self._saving_work += work
        self.scale_usd_per_unit = self._saving_usd / self._saving_work

    def _add(self, work: float, inside: bool) -> None:
        self.booked_total += work
        if inside:
            self.booked_inside += work
            self.debt += (1.0 - self.target) * work
        else:
            self.debt -= self.target * work
