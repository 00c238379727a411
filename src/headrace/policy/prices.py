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

`scale` is the mean saving per unit of work seen so far, so that no constant here has a unit. Debt that no window can
see any more (an outage of the share's pools) is forgiven beyond 2.5 % of a window's work, or it would be repaid in
windows that never owed it.

Source: dual ascent on a budget constraint, as in Balseiro, Lu, Mirrokni, "The Best of Many Worlds: Dual Mirror Descent
for Online Allocation Problems" (2020); the split into level and barrier, and both exponents, were chosen on the Azure
2023 traces (docs/decisions/2026-11-23-share-controller.md).
"""

from __future__ import annotations

from headrace.fleet import Fleet, Share
from headrace.metrics import WorkRate
from headrace.perf import work_rate
from headrace.policy.windows import OpenWindows

LEVEL_GAIN = 50.0
FORGIVEN = 0.025  # of a window's work


def barrier(x: float) -> float:
    """Odd, flat at 0, 1 at 1, steep beyond."""
    return x * x * x if -1.0 < x < 1.0 else x**7


def potential(x: float) -> float:
    """Integral of the barrier from 0; even, continuous."""
    fourth = (x * x) * (x * x)
    return fourth / 4.0 if fourth < 1.0 else 0.25 + (fourth * fourth - 1.0) / 8.0


class ShareController:
    """Steers one share by its price; a report-only share is measured the same way and priced at 0.

    Attributes:
        level_usd_per_unit: slow part of the price.
        debt: work given to the share's pools above the target, in the share's unit.
    """

    __slots__ = (
        "_saving_usd",
        "_saving_work",
        "booked_inside",
        "booked_total",
        "debt",
        "level_usd_per_unit",
        "name",
        "rate",
        "steered",
        "target",
        "windows",
    )

    def __init__(self, share: Share, rate: WorkRate, steered: bool) -> None:
        """Args: `rate` is work in the share's unit; `steered` False: the share is only measured, its price is 0."""
        self.name = share.name
        self.rate = rate
        self.target = share.target
        self.steered = steered
        self.level_usd_per_unit = share.price_usd_per_unit
        self.debt = 0.0
        self.booked_inside = 0.0
        self.booked_total = 0.0
        self.windows = OpenWindows()
        self._saving_usd = 0.0
        self._saving_work = 0.0

    @property
    def scale_usd_per_unit(self) -> float:
        """Mean absolute saving per unit of work, over about the last window; 0 before the first choice."""
        return self._saving_usd / self._saving_work if self._saving_work > 0.0 else 0.0

    def price_usd_per_unit(self) -> float:
        """What a candidate inside the share's pools pays per unit of work now."""
        half_width = self.windows.half_width
        if not self.steered:
            return 0.0
        if half_width <= 0.0:
            return self.level_usd_per_unit
        distance = (self.debt - self.windows.centre) / half_width
        return self.level_usd_per_unit + self.scale_usd_per_unit * barrier(distance)

    def surcharge_usd(self, work: float) -> float:
        """What `work` pays for going inside instead of outside: the price, integrated over the debt that it moves."""
        half_width = self.windows.half_width
        if not self.steered:
            return 0.0
        if half_width <= 0.0:
            return self.level_usd_per_unit * work
        outside = (self.debt - self.windows.centre - self.target * work) / half_width
        moved = potential(outside + work / half_width) - potential(outside)
        return self.level_usd_per_unit * work + self.scale_usd_per_unit * half_width * moved

    def book(self, now_s: float, work: float, inside: bool) -> None:
        """Book predicted work at its dispatch."""
        self.windows.book(now_s, work, self.debt)
        self._add(work, inside)

    def true_up(self, booked_s: float, difference: float, inside: bool) -> None:
        """Add what an attempt booked at `booked_s` really used beyond what was booked for it; may be negative."""
        before = self.debt
        self._add(difference, inside)
        self.windows.correct(booked_s, difference, self.debt - before)
        limit = FORGIVEN * self.windows.whole_work
        if self.steered and not -limit <= self.debt <= limit:
            self.debt = min(max(self.debt, -limit), limit)

    def learn(self, saving_usd: float, work: float) -> None:
        """Move the level by one choice: `saving_usd` is the best score outside minus the best inside, price aside."""
        window_work = self.windows.work
        if work <= 0.0 or window_work <= 0.0:
            return
        if self._saving_work >= window_work:
            keep = max(0.0, 1.0 - work / window_work)
            self._saving_usd *= keep
            self._saving_work *= keep
        self._saving_usd += abs(saving_usd)
        self._saving_work += work
        would_choose = 1.0 if saving_usd > self.level_usd_per_unit * work else 0.0
        step = LEVEL_GAIN * self.scale_usd_per_unit / max(window_work, LEVEL_GAIN * work)
        self.level_usd_per_unit += step * (would_choose - self.target) * work

    def realized(self) -> float | None:
        """Share of all work booked so far; None before any."""
        return self.booked_inside / self.booked_total if self.booked_total > 0.0 else None

    def _add(self, work: float, inside: bool) -> None:
        self.booked_total += work
        if inside:
            self.booked_inside += work
            self.debt += (1.0 - self.target) * work
        else:
            self.debt -= self.target * work


def share_controllers(fleet: Fleet, steer: bool) -> tuple[ShareController, ...]:
    """A controller for every share of the fleet; `steer` False: all of them only measure."""
    return tuple(
        ShareController(share, work_rate(share), steered=steer and not share.report_only)
        for share in fleet.shares.values()
    )
