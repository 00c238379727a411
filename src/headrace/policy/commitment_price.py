"""The price of a commitment: its money is paid anyway, so its pools are cheap until it is used up.

What is promised and not used is lost. So while use is behind its pace (`pace.py`) a request on the commitment's pools
gets a discount,

    max(lambda, -marginal cost / use) * use            lambda <= 0, USD per unit of what is promised

and pays in full while use is ahead. A discount is never larger than what the request adds there: at most the pools cost
nothing more, which is what is true of money that is spent already. Traffic that would rather wait less elsewhere, even
so, is not bought: using the commitment for it would cost more than it saves.

The price's scale, and its lowest value, is what a unit costs at most: 1 USD per USD of list prices, the dearest token,
the energy of an accelerator-hour under hourly terms (their hours are paid in any case, so there is little to discount).
"""

from __future__ import annotations

from headrace.metrics import WorkRate
from headrace.policy.limit import Best
from headrace.policy.pace import Pace, PacedPrice
from headrace.policy.state import RequestState


class CommitmentPrice(PacedPrice):
    """Draws traffic to the pools of one commitment."""

    def __init__(
        self,
        path: str,
        unit: str,
        pace: Pace,
        rates: tuple[WorkRate | None, ...],
        *,
        starting_price_usd: float,
        dearest_usd_per_unit: float,
    ) -> None:
        """
        Args:
            dearest_usd_per_unit: most marginal cost per unit of use on the commitment's pools.
        """
        super().__init__(path, unit, pace, rates, starting_price_usd)
        self.scale_usd_per_unit = dearest_usd_per_unit
        self._lowest = min(-dearest_usd_per_unit, starting_price_usd)

    def bounds(self) -> tuple[float, float]:
        """From what a unit costs at most, as a discount, to none."""
        return self._lowest, 0.0

    def surcharged(self, bests: list[Best], request: RequestState) -> list[Best]:
        """Take the discount off."""
        price = self.lambda_usd_per_unit
        if not price:
            return bests
        priced: list[Best] = []
        for best in bests:
            use = self.use(request, best[3])
            if use:
                cached = request.cached_tokens(best[3])
                cost_usd = best[3].cost_usd(request.input_tokens, request.expected_output_tokens, cached)
                best = (best[0] - min(-price * use, cost_usd), *best[1:])
            priced.append(best)
        return priced
