"""Shares of spend and of power: what a request counts for depends on the pool that serves it.

With w(r, b) the work of request r on backend b, a candidate uses

    use(r, b) = (1 - target) * w(r, b)  inside the share's pools,   -target * w(r, b)  outside

of the share, and pays the price of `prices.py` for it: the level, and the barrier integrated over the debt that it
moves. Where w is the same everywhere that is the surcharge of `prices.py` but for a constant. Here it is not, so two
pools on one side pay differently (a dear pool inside brings the share of spend closer to its target than a cheap one),
and the level learns from the use of what it would choose:

    level += gain * scale / window_work * use(r, argmin over b of score + level * use)
"""

from __future__ import annotations

from math import inf

from headrace.cost import share_rates
from headrace.fleet import Fleet, Share
from headrace.metrics import WorkRate
from headrace.policy.limit import Best
from headrace.policy.prices import LEVEL_GAIN, ReportedShare, ShareController, potential
from headrace.policy.pricing import BackendState
from headrace.policy.state import AttemptState, RequestState


class PoolShareController(ShareController):
    """Steers one share whose work depends on the pool."""

    __slots__ = ()

    def use(self, work: float, inside: bool) -> float:
        """What a candidate with this work uses of the share: the debt that it adds."""
        return (1.0 - self.target) * work if inside else -self.target * work

    def charge_usd(self, use: float) -> float:
        """What a candidate pays: the price, integrated over the debt that it moves."""
        windows, level = self.windows, self.level_usd_per_unit
        half_width = windows.half_width
        if half_width <= 0.0:
            return level * use
        before = (self.debt - windows.centre) / half_width
        moved = potential(before + use / half_width) - potential(before)
        return level * use + self.scale_usd_per_unit * half_width * moved

    def learn_choice(self, saving_usd: float, inside_use: float, outside_use: float) -> None:
        """Move the level by one choice between the best candidate inside and the best outside, at the level alone."""
        window_work, moved = self.windows.work, inside_use - outside_use
        if moved <= 0.0 or window_work <= 0.0:
            return
        self._observe(saving_usd, moved, window_work)
        scale, slowest = self.scale_usd_per_unit, LEVEL_GAIN * moved
        chosen_use = inside_use if saving_usd > self.level_usd_per_unit * moved else outside_use
        self.level_usd_per_unit += LEVEL_GAIN * scale / max(window_work, slowest) * chosen_use


class SharesByPool:
    """The books of these shares, and their prices, for the chooser.

    Attributes:
        steers: whether any of them is steered.
    """

    def __init__(self, shares: tuple[tuple[int, ReportedShare], ...], backends: tuple[BackendState, ...]) -> None:
        """
        Args:
            shares: each with its index in the fleet.
        """
        self._shares = tuple((k, share, _by_backend(share, backends)) for k, share in shares)
        self._priced = tuple((k, s, rates) for k, s, rates in self._shares if isinstance(s, PoolShareController))
        self._booked: dict[int, list[float]] = {}  # by attempt
        self.steers = bool(self._priced)

    def surcharged(self, bests: list[Best], request: RequestState) -> list[Best]:
        """Add every share's price to the cheapest candidate of each pool, and let it learn where there was a choice."""
        for k, share, rates in self._priced:
            bests = _surcharged(bests, k, share, rates, request)
        return bests

    def surcharge_usd(self, request: RequestState, backend: BackendState) -> float:
        """What every share's price adds for `backend`."""
        found = 0.0
        for k, share, rates in self._priced:
            if backend.inside[k]:
                found += share.surcharge_usd(_expected_work(rates, request, backend))
        return found

    def book(self, now_s: float, request: RequestState, attempt: AttemptState) -> None:
        """Book a dispatch at its predicted size."""
        backend = attempt.backend
        works = self._booked[attempt.attempt_id] = []
        for k, share, rates in self._shares:
            work = _expected_work(rates, request, backend)
            works.append(work)
            share.book(now_s, work, backend.inside[k])

    def ended(self, attempt: AttemptState, used_input: float, used_output: float, cached_input: float) -> None:
        """Replace what was booked for an attempt by what it used."""
        backend, booked = attempt.backend, self._booked.pop(attempt.attempt_id)
        for (k, share, rates), work in zip(self._shares, booked, strict=True):
            used = rates[backend.index].work(used_input, used_output, cached_input)
            share.true_up(attempt.dispatched_s, used - work, backend.inside[k])


def _by_backend(share: ReportedShare, backends: tuple[BackendState, ...]) -> tuple[WorkRate, ...]:
    rates = share.rate
    return tuple(rates if isinstance(rates, WorkRate) else rates[backend.pool] for backend in backends)


def _expected_work(rates: tuple[WorkRate, ...], request: RequestState, backend: BackendState) -> float:
    cached = request.cached_tokens(backend)
    return rates[backend.index].work(request.input_tokens, request.expected_output_tokens, cached)


def _surcharged(
    bests: list[Best], k: int, share: PoolShareController, rates: tuple[WorkRate, ...], request: RequestState
) -> list[Best]:
    level = share.level_usd_per_unit
    inside = outside = (inf, 0.0, 0.0)  # total at the level, total, use
    priced: list[Best] = []
    for total, index, score, backend, side in bests:
        use = share.use(_expected_work(rates, request, backend), side[k])
        if side[k]:
            inside = min(inside, (total + level * use, total, use))
        else:
            outside = min(outside, (total + level * use, total, use))
        priced.append((total + share.charge_usd(use), index, score, backend, side))
    if inside[0] < inf and outside[0] < inf:
        share.learn_choice(outside[1] - inside[1], inside[2], outside[2])
    return priced


def share_meters(fleet: Fleet, steer: bool, before: tuple[ReportedShare, ...] = ()) -> tuple[ReportedShare, ...]:
    """One for every share of the fleet, by index.

    Args:
        steer: False: all of them only measure.
        before: those of the fleet before: a share of the same name, pools, target and unit goes on.
    """
    known = {meter.name: meter for meter in before}
    return tuple(
        _meter(fleet, share, steer and not share.report_only, known.get(share.name)) for share in fleet.shares.values()
    )


def _meter(fleet: Fleet, share: Share, steered: bool, before: ReportedShare | None) -> ReportedShare:
    controller = PoolShareController if share.of.by_pool else ShareController
    kind: type[ReportedShare] = controller if steered else ReportedShare
    rates = share_rates(fleet, share)
    if before is not None and type(before) is kind and before.share == share:
        before.rate = rates
        return before
    return kind(share, rates)
