"""The price of an amount per period: what holds its use to an even pace.

A commitment is to be used up by the end of its period, a budget is not to be spent before. Both are an amount of
something that requests use, and both have one price, in USD per unit, that follows what is used by dual ascent:

    d lambda = scale / (STEP * amount) * (use - pace * dt)          pace = what is left / time left of the period

so use beyond `STEP` of the whole amount moves it by its scale. A commitment's lambda is never above 0 (it draws traffic
in while use is behind), a budget's never below (it holds traffic back while spending is ahead). `pace` starts even and
makes up for what went wrong before; it is at most `CATCH_UP` times the even one, or the last minutes of a period would
pull without measure.

What is in flight counts as expected at its dispatch and is trued up when it ends. It stays with the period in which it
was dispatched. Time is the engine's: a period begins at second 0, unless the driver says how far it is
(`PeriodResumed`), for a gateway starts somewhere in a month and its ledger knows what was used before.

Source: dual ascent on a budget constraint with the pace re-solved, as in Balseiro, Lu, Mirrokni, "The Best of Many
Worlds: Dual Mirror Descent for Online Allocation Problems" (2020), and Balseiro and Gur, "Learning in Repeated Auctions
with Budgets: Regret Minimization and Equilibrium" (2019), whose paced multiplier this is.
"""

from __future__ import annotations

from headrace.metrics import WorkRate
from headrace.policy.limit import Best, LimitView
from headrace.policy.pricing import BackendState
from headrace.policy.state import AttemptState, RequestState

STEP = 0.02  # of the amount
CATCH_UP = 4.0  # times the even pace


class Pace:
    """What was used of an amount in the present period.

    Attributes:
        used: what is in flight included, as expected.
        elsewhere: of `used`, what other engines say that they did.
    """

    __slots__ = ("_at_s", "_begun_s", "_number", "_open", "_period_s", "amount", "elsewhere", "used")

    def __init__(self, amount: float, period_s: float) -> None:
        self.amount = amount
        self.used = 0.0
        self.elsewhere = 0.0
        self._period_s = period_s
        self._begun_s = 0.0
        self._at_s = 0.0
        self._number = 0
        self._open: dict[int, tuple[int, float]] = {}  # by attempt: number of its period, what was booked

    @property
    def period_s(self) -> float:
        """Seconds of a period."""
        return self._period_s

    def passed(self, now_s: float) -> float:
        """Let time pass until now; returns what should have been used in it."""
        if now_s >= self._begun_s + self._period_s:
            periods = int((now_s - self._begun_s) // self._period_s)
            self._number += periods
            self._begun_s += periods * self._period_s
            self.used = self.elsewhere = 0.0
        elapsed_s = now_s - max(self._at_s, self._begun_s)
        self._at_s = now_s
        if elapsed_s <= 0.0:
            return 0.0
        even = self.amount / self._period_s
        pace = (self.amount - self.used) / (self.left_s(now_s) + elapsed_s)
        return elapsed_s * max(0.0, min(pace, CATCH_UP * even))

    def left_s(self, now_s: float) -> float:
        """Seconds until the period ends."""
        return max(self._begun_s + self._period_s - now_s, 0.0)

    def even(self, now_s: float) -> float:
        """What would be used by now at an even pace."""
        return self.amount * min(max(now_s - self._begun_s, 0.0) / self._period_s, 1.0)

    def book(self, attempt_id: int, use: float) -> bool:
        """An attempt was dispatched; False: the first period has not begun, and nothing counts."""
        if self._at_s < self._begun_s:
            return False
        self._open[attempt_id] = (self._number, use)
        self.used += use
        return True

    def settle(self, attempt_id: int, used: float) -> float:
        """An attempt is over: returns what it used beyond what was booked; 0 if its period is over too."""
        number, booked = self._open.pop(attempt_id, (-1, 0.0))
        if number != self._number:
            return 0.0
        self.used += used - booked
        return used - booked

    def used_elsewhere(self, used: float) -> float:
        """Other engines used so much of it; returns what that is beyond what they said before."""
        beyond = used - self.elsewhere
        self.elsewhere = used
        self.used += beyond
        return beyond

    def resume(self, now_s: float, elapsed_s: float, used: float) -> None:
        """The period began `elapsed_s` ago, and so much was used; negative: it has yet to begin."""
        self._begun_s = now_s - elapsed_s
        self._at_s = now_s
        self._number += 1
        self.used = used + self.elsewhere


class PacedPrice:
    """Keeps the use of one amount per period at its pace.

    Attributes:
        path: of its table in the fleet file.
        lambda_usd_per_unit: the price.
    """

    scale_usd_per_unit: float

    def __init__(
        self, path: str, unit: str, pace: Pace, rates: tuple[WorkRate | None, ...], starting_price_usd: float
    ) -> None:
        """
        Args:
            rates: what a request uses, by index of the backend; None: it is not covered.
        """
        self.path = path
        self.pace = pace
        self.lambda_usd_per_unit = starting_price_usd
        self.scale_usd_per_unit = 0.0
        self._unit = unit
        self._rates = rates

    def inherit(self, before: PacedPrice) -> None:
        """Go on with the period of another, which both count in from now on, and with its price."""
        if self.pace.period_s == before.pace.period_s:
            before.pace.amount = self.pace.amount
            self.pace = before.pace
        self.scale_usd_per_unit = before.scale_usd_per_unit
        self.lambda_usd_per_unit = before.lambda_usd_per_unit

    def covers(self, request: RequestState) -> bool:
        """Whether a request can use it at all."""
        return True

    def surcharged(self, bests: list[Best], request: RequestState) -> list[Best]:
        """Add the price to the cheapest candidate of each pool that is covered."""
        raise NotImplementedError

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest price."""
        raise NotImplementedError

    def passed(self, now_s: float) -> None:
        """Time has passed: the price follows what should have been used in it."""
        due = self.pace.passed(now_s)
        if due:
            self._move(-due)

    def booked(self, request: RequestState, attempt: AttemptState) -> None:
        """An attempt was dispatched."""
        use = self.use(request, attempt.backend)
        if use and self.pace.book(attempt.attempt_id, use):
            self._move(use)

    def ended(self, attempt: AttemptState, used_input: float, used_output: float, cached_input: float) -> None:
        """An attempt is over."""
        rate = self._rates[attempt.backend.index]
        if rate is not None:
            beyond = self.pace.settle(attempt.attempt_id, rate.work(used_input, used_output, cached_input))
            if beyond:
                self._move(beyond)

    def used_elsewhere(self, now_s: float, used: float) -> None:
        """Other engines say what they used of it in this period."""
        self.passed(now_s)
        beyond = self.pace.used_elsewhere(used)
        if beyond:
            self._move(beyond)

    def use(self, request: RequestState, backend: BackendState) -> float:
        """What a request is expected to use there; 0 where it is not covered."""
        rate = self._rates[backend.index]
        if rate is None or not self.covers(request):
            return 0.0
        return rate.work(request.input_tokens, request.expected_output_tokens, request.cached_tokens(backend))

    def view(self, now_s: float) -> LimitView:
        """The limit now."""
        pace = self.pace
        return LimitView(self.path, self._unit, pace.amount, pace.used, self.lambda_usd_per_unit, pace.even(now_s))

    def _move(self, use: float) -> None:
        steps = max(-1.0, min(1.0, use / (STEP * self.pace.amount)))
        low, high = self.bounds()
        self.lambda_usd_per_unit = max(low, min(self.lambda_usd_per_unit + self.scale_usd_per_unit * steps, high))
