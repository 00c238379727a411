"""How a share is measured: realized share overall, and its deviation in sliding five-minute windows.

The actual work of an attempt is booked at its *dispatch* time, when it *ends*: books arrive late and out of order. So
work is collected in slots as long as the windows' slide, a window is a run of slots, and it is judged once everything
that was dispatched in it has had `horizon_s` to end. Then its oldest slot is dropped: memory depends on the traffic
within the horizon, not on the length of the run.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from headrace.metrics.feasible import (
    Infeasible,
    Reason,
    WindowDebt,
    WindowWork,
    surely_feasible,
    why_infeasible,
    why_out_of_reach,
)
from headrace.metrics.record import AttemptRecord
from headrace.metrics.work import Rates, WorkRate
from headrace.sums import float_sum

TOLERANCE: Final = 0.005  # half a percentage point, design law 7


@dataclass(frozen=True, slots=True)
class WindowVerdict:
    """One judged window.

    Attributes:
        realized: share of the window's work, 0 to 1.
        error_pp: distance from the target in percentage points.
        infeasible: why nobody could have met the target here; None: it was feasible.
    """

    start_s: float
    end_s: float
    realized: float
    error_pp: float
    infeasible: Infeasible | None


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How windows are cut and when they are judged, in seconds. `window_s` is a multiple of `slide_s`."""

    window_s: float = 300.0
    slide_s: float = 10.0
    horizon_s: float = 900.0


DEFAULT_WINDOWS: Final = WindowSettings()


@dataclass(frozen=True, slots=True)
class _Side:
    """Whether an attempt went into the share's pools, and whether it could go inside, and outside.

    Attributes:
        rate: what it counts where it went.
        elsewhere: what it would count in each other pool where it could go, and whether that is inside; empty where it
            counts the same everywhere.
        kept_outside: it could not go inside only because the share's pools were down; `kept_inside`: the reverse.
    """

    inside: bool
    may_inside: bool
    may_outside: bool
    rate: WorkRate
    elsewhere: tuple[tuple[bool, WorkRate], ...]
    kept_outside: bool = False
    kept_inside: bool = False


@dataclass(slots=True)
class _Choices:
    """What the items of a slot could have counted (`WindowDebt`)."""

    least: float = 0.0
    slack: float = 0.0
    most_work: float = 0.0
    steps: array[float] = field(default_factory=lambda: array("d"))

    def add(self, inside: list[float], outside: list[float], target: float) -> None:
        """Count one item by what its work would be in each pool where it can go, on either side."""
        self.most_work += max(*inside, *outside, 0.0)
        use_in, use_out = (1.0 - target) * min(inside, default=0.0), -target * max(outside, default=0.0)
        slack_in = (1.0 - target) * max(inside, default=0.0) - use_in
        slack_out = -target * min(outside, default=0.0) - use_out
        self.least += use_out if outside else use_in
        self.slack += max(slack_in, slack_out)
        if inside and outside:
            self.steps.append(use_in - use_out)


@dataclass(slots=True)
class _Slot:
    """Work dispatched within one slide; `free` are the items that could go to either side."""

    total: float = 0.0
    inside: float = 0.0
    must_inside: float = 0.0
    must_outside: float = 0.0
    largest_free: float = 0.0
    kept_inside: float = 0.0
    kept_outside: float = 0.0
    free: array[float] = field(default_factory=lambda: array("d"))
    choices: _Choices | None = None

    def add(self, work: float, side: _Side) -> None:
        """Count one item."""
        self.total += work
        if side.inside:
            self.inside += work
        if side.may_inside and side.may_outside:
            self.free.append(work)
            if work > self.largest_free:
                self.largest_free = work
            return
        if side.may_inside:
            self.must_inside += work
        else:
            self.must_outside += work
        if side.kept_inside:
            self.kept_inside += work
        elif side.kept_outside:
            self.kept_outside += work


class ShareMeter:
    """Measures one share.

    Args:
        pools: the share's pools.
        rate: work of a request in the share's unit, everywhere or by pool.
        target: in (0, 1).
        capacity_work: most work that the share's pools can hold in a window, as a number or a function of the
            window's (start_s, end_s); None: no bound is known.
        on_window: called with every verdict, in time order.
    """

    def __init__(
        self,
        pools: Iterable[str],
        rate: Rates,
        target: float,
        *,
        settings: WindowSettings = DEFAULT_WINDOWS,
        capacity_work: float | Callable[[float, float], float | None] | None = None,
        on_window: Callable[[WindowVerdict], None] | None = None,
    ) -> None:
        self.target = target
        self.judged = 0
        self.feasible = 0
        self.late = 0  # attempts that ended after their windows had been judged: in `realized` only
        self.worst_error_pp: float | None = None
        self.reasons: dict[Reason, int] = {}
        self._pools = frozenset(pools)
        self._rate = rate
        self._by_pool = not isinstance(rate, WorkRate)
        self._settings = settings
        self._slide_s = settings.slide_s
        self._span = round(settings.window_s / settings.slide_s)
        self._capacity_work = capacity_work
        self._on_window = on_window
        self._slots: dict[int, _Slot] = {}
        self._sides: dict[tuple[str, tuple[str, ...], tuple[str, ...]], _Side] = {}
        self._next = 0  # first window that is not judged; windows are numbered by their first slot
        self._judge_at_s = settings.window_s + settings.horizon_s
        self._total = 0.0
        self._inside = 0.0

    @property
    def realized(self) -> float | None:
        """Share of all work booked so far; None before there is any."""
        return self._inside / self._total if self._total > 0 else None

    @property
    def work(self) -> float:
        """All work booked so far, in the share's unit."""
        return self._total

    def book(self, attempt: AttemptRecord) -> None:
        """Book the actual work of an ended attempt at its dispatch time; one that used nothing is no work at all."""
        way = attempt.pool, attempt.eligible_pools, attempt.down_pools
        side = self._sides.get(way) or self._side_of(*way)
        per_request, per_input, per_output, cached_saves = side.rate
        work = per_input * attempt.input_tokens + per_output * attempt.output_tokens
        if attempt.input_tokens or attempt.output_tokens:
            work += per_request
        if cached_saves:
            work -= cached_saves * attempt.cached_input_tokens
        self._total += work
        if side.inside:
            self._inside += work
        index = int(attempt.dispatch_s // self._slide_s)
        if index < self._next:
            self.late += 1
        elif work > 0:
            slot = self._slots.get(index) or self._new_slot(index)
            slot.add(work, side)
            if self._by_pool:
                self._choose(slot, attempt, work, side)
        if attempt.end_s >= self._judge_at_s:
            self._judge_until(attempt.end_s - self._settings.horizon_s)

    def recent(self, now_s: float) -> float | None:
        """Share of what was dispatched within one window before `now_s` and has ended; None if nothing has."""
        last = int(now_s // self._settings.slide_s)
        total, inside = 0.0, 0.0
        for index in range(max(last - self._span + 1, self._next), last + 1):
            slot = self._slots.get(index)
            if slot is not None:
                total += slot.total
                inside += slot.inside
        return inside / total if total > 0 else None

    def close(self, end_s: float) -> None:
        """Judge every full window inside [0, end_s] that is left. Nothing can be booked in them afterwards."""
        self._judge_until(end_s)

    def _choose(self, slot: _Slot, attempt: AttemptRecord, work: float, side: _Side) -> None:
        """Note what an attempt would have counted elsewhere, where nothing of its input is taken to be cached."""
        works = [(side.inside, work)]
        works += [(in_, rate.work(attempt.input_tokens, attempt.output_tokens)) for in_, rate in side.elsewhere]
        slot.choices = choices = slot.choices or _Choices()
        choices.add([w for inside, w in works if inside], [w for inside, w in works if not inside], self.target)

    def _new_slot(self, index: int) -> _Slot:
        slot = self._slots[index] = _Slot()
        return slot

    def _side_of(self, pool: str, eligible: tuple[str, ...], down: tuple[str, ...]) -> _Side:
        """Where an attempt went, and could go, or could have gone. Where it really went was possible."""
        inside = [p in self._pools for p in (pool, *eligible)]
        lost = [p in self._pools for p in down]
        rate, elsewhere = self._rate, tuple[tuple[bool, WorkRate], ...]()
        if not isinstance(rate, WorkRate):
            others = dict.fromkeys(name for name in eligible if name != pool)
            elsewhere = tuple((name in self._pools, rate[name]) for name in others)
            rate = rate[pool]
        may_inside, may_outside = any(inside), not all(inside)
        kept_outside, kept_inside = not may_inside and any(lost), not may_outside and not all(lost)
        side = _Side(inside[0], may_inside, may_outside, rate, elsewhere, kept_outside, kept_inside)
        self._sides[(pool, eligible, down)] = side
        return side

    def _judge_until(self, end_s: float) -> None:
        """Judge, in order, every window that ends by `end_s`, and drop the slots that no later window needs."""
        slide_s = self._settings.slide_s
        while (self._next + self._span) * slide_s <= end_s:
            slots = [self._slots[i] for i in range(self._next, self._next + self._span) if i in self._slots]
            if slots:
                self._judge(slots)
            self._slots.pop(self._next, None)
            self._next += 1
        self._judge_at_s = (self._next + self._span) * slide_s + self._settings.horizon_s

    def _judge(self, slots: list[_Slot]) -> None:
        start_s = self._next * self._settings.slide_s
        end_s = start_s + self._settings.window_s
        realized = float_sum(slot.inside for slot in slots) / float_sum(slot.total for slot in slots)
        error_pp = abs(realized - self.target) * 100
        infeasible = self._why_missed(slots, start_s, end_s) if error_pp > TOLERANCE * 100 else None
        self._count(WindowVerdict(start_s, end_s, realized, error_pp, infeasible))

    def _why_missed(self, slots: list[_Slot], start_s: float, end_s: float) -> Infeasible | None:
        """Why nobody could have met the target in a window that missed it; None: somebody could."""
        infeasible = None
        if self._by_pool:
            infeasible = why_out_of_reach(_window_debt(slots), TOLERANCE)
        elif not self._surely_feasible(slots):
            infeasible = why_infeasible(self._window_work(slots, start_s, end_s), self.target, TOLERANCE)
        return infeasible or self._lost(slots)

    def _lost(self, slots: list[_Slot]) -> Infeasible | None:
        """What pools that were down alone took from the share, or added to it, if that is beyond the tolerance."""
        total = float_sum(slot.total for slot in slots)
        short = self.target * float_sum(slot.kept_outside for slot in slots) / total
        beyond = (1.0 - self.target) * float_sum(slot.kept_inside for slot in slots) / total
        if max(short, beyond) <= TOLERANCE:
            return None
        return Infeasible(Reason.OUTAGE, f"while pools were down it went {100 * max(short, beyond):.3g} points off")

    def _surely_feasible(self, slots: list[_Slot]) -> bool:
        """Spares most windows that miss, those of a share that is only reported above all, a look at every item."""
        if self._capacity_work is not None:
            return False
        must_inside, must_outside = float_sum(s.must_inside for s in slots), float_sum(s.must_outside for s in slots)
        free = float_sum(s.total for s in slots) - must_inside - must_outside
        largest = max(s.largest_free for s in slots)
        return surely_feasible(must_inside, must_outside, free, largest, self.target, TOLERANCE)

    def _window_work(self, slots: list[_Slot], start_s: float, end_s: float) -> WindowWork:
        free = array("d")
        for slot in slots:
            free.extend(slot.free)
        must_inside = float_sum(slot.must_inside for slot in slots)
        must_outside = float_sum(slot.must_outside for slot in slots)
        capacity = self._capacity_work(start_s, end_s) if callable(self._capacity_work) else self._capacity_work
        return WindowWork(must_inside, must_outside, free, capacity)

    def _count(self, verdict: WindowVerdict) -> None:
        self.judged += 1
        if verdict.infeasible is None:
            self.feasible += 1
            if self.worst_error_pp is None or verdict.error_pp > self.worst_error_pp:
                self.worst_error_pp = verdict.error_pp
        else:
            reason = verdict.infeasible.reason
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if self._on_window is not None:
            self._on_window(verdict)


def _window_debt(slots: list[_Slot]) -> WindowDebt:
    steps = array("d")
    choices = [slot.choices for slot in slots if slot.choices is not None]
    for each in choices:
        steps.extend(each.steps)
    least, slack = sum(each.least for each in choices), sum(each.slack for each in choices)
    return WindowDebt(least, slack, steps, sum(each.most_work for each in choices))
