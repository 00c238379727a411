"""Hindsight: the best value that anyone could have captured, had every length been known and no queue existed.

    maximise    sum_i gain_i * x_i                      gain_i = best outcome outside - best outcome inside, in USD
    subject to  sum_i work_i * x_i <= share * sum_i work_i,   0 <= x_i <= 1

with every latency and cost taken from the speed curves at their uncontended operating point. One constraint and boxes:
a fractional knapsack, solved exactly by taking requests in order of gain per unit of work (Dantzig 1957). Pool
capacities are left out and requests may be split, so the figure is an upper bound: regret against it is never too
small.

Of sessions it says nothing: a turn comes when the one before was answered and finds its context in a cache, so what a
request is worth depends on where the others went. Traffic with sessions has no V* here, and no regret.

Where work depends on the pool (a share of spend or of power), work_i is what putting i inside uses of the share,
(1 - share) * work inside + share * work outside, and the right-hand side is share * all work outside; with the least of
the works inside and the most of those outside the figure stays an upper bound.

Memory: two or three floats per request that gains anything.
"""

from __future__ import annotations

from math import inf

from headrace.cost import MarginalCost, marginal_cost, share_rates
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet, Pool
from headrace.metrics import WorkRate
from headrace.perf import SpeedCurve, speed_curve
from headrace.workload import Request


class Hindsight:
    """Collects requests, then says what the best assignment at a given share would have gained."""

    def __init__(self, fleet: Fleet) -> None:
        """Raises ConfigError: the fleet steers no share, so there is nothing to compare with."""
        share = fleet.steered_share()
        if share is None:
            raise ConfigError("fleet", [Fault("shares", "no share is steered: hindsight has nothing to compare with")])
        self._fleet = fleet
        self._share = share
        self._rates = share_rates(fleet, share)
        self._pools = {name: _priced(pool) for name, pool in fleet.pools.items()}
        self._items: list[tuple[float, float, float]] = []  # gain, work inside, work outside
        self._work = 0.0  # of all requests, outside where they have the choice
        self._sessions = False

    def add(self, request: Request) -> None:
        """Count one request; one that has no choice gains nothing."""
        self._sessions |= request.turn is not None
        output_tokens = max(request.output_tokens, 1)
        route = next((r for r in self._fleet.routes if r.matches(*_key(request))), None)
        work_in, work_out = self._works(request, output_tokens, () if route is None else route.pools)
        self._work += work_out
        if route is None:
            return
        outcomes = [(name in self._share.pools, self._outcome_usd(name, request)) for name in route.pools]
        inside = min((usd for is_inside, usd in outcomes if is_inside), default=None)
        outside = min((usd for is_inside, usd in outcomes if not is_inside), default=None)
        if inside is not None and outside is not None and outside > inside:
            self._items.append((outside - inside, work_in, work_out))

    def value_usd(self, realized: float | None) -> float | None:
        """The best value with at most the larger of the share's target and `realized` of all work inside."""
        return self.value_at_usd(max(self._share.target, realized or 0.0))

    def value_at_usd(self, share: float) -> float | None:
        """The best value with at most `share` of all work inside; None: some requests were turns of sessions."""
        if self._sessions:
            return None
        room = share * self._work
        value = 0.0
        items = [(gain, self._used(share, work_in, work_out)) for gain, work_in, work_out in self._items]
        for gain, work in sorted(items, key=lambda item: item[0] / item[1] if item[1] > 0.0 else inf, reverse=True):
            taken = min(1.0, room / work) if work > 0.0 else 1.0
            value += gain * taken
            room -= work * taken
            if room <= 0.0:
                break
        return value

    def _works(self, request: Request, output_tokens: int, pools: tuple[str, ...]) -> tuple[float, float]:
        """(Least work inside, most work outside) where `pools` may serve it; of a side without pools, the other's."""
        rates = self._rates
        if isinstance(rates, WorkRate):
            work = rates.work(request.input_tokens, output_tokens)
            return work, work
        works = [(name in self._share.pools, rates[name].work(request.input_tokens, output_tokens)) for name in pools]
        inside, outside = [w for is_in, w in works if is_in], [w for is_in, w in works if not is_in]
        return min(inside or outside, default=0.0), max(outside or inside, default=0.0)

    def _used(self, share: float, work_in: float, work_out: float) -> float:
        """What putting a request inside uses of the share."""
        same = isinstance(self._rates, WorkRate)
        return work_in if same else (1.0 - share) * work_in + share * work_out

    def _outcome_usd(self, pool: str, request: Request) -> float:
        curve, cost = self._pools[pool]
        output_tokens = max(request.output_tokens, 1)
        latency_s = curve.ttft_s(request.input_tokens) + (output_tokens - 1) * curve.tpot_s(1, request.input_tokens)
        usd = request.input_tokens * cost.usd_per_input_token + request.output_tokens * cost.usd_per_output_token
        return usd + self._fleet.classes[request.workload_class].value_of_time_usd_per_s * latency_s


def _priced(pool: Pool) -> tuple[SpeedCurve, MarginalCost]:
    curve = speed_curve(pool.deployment)
    return curve, marginal_cost(pool, curve)


def _key(request: Request) -> tuple[str | None, str, str]:
    return request.model, request.tenant, request.workload_class
