"""The price of a provider's quota: who gets it when there is not enough for all.

A backend whose quota has no room is not picked; without a price whoever comes first would have it. So every request
pays, on the backends that draw from a quota,

    lambda * use        use = tokens that it takes from the quota
    lambda = HIGHEST * scale * max(0, 1 - fill / FREE)        fill = what is left of the scarcest limit, 0 to 1

and takes its turn elsewhere, or not at all, where the fast answer is not worth that much to it. What is left of a
bucket falls by every token taken and rises by the refill, so a price that rises as the bucket empties is the dual
ascent of the constraint "no more than the refill": d lambda is in proportion to use - refill. It settles where those
who still pay use just what comes back, and the bucket then stands at a level that says how scarce the quota is. `scale`
is the mean saving per token over the best candidate elsewhere, so no constant here has a unit of money.

Source: queues as Lagrange multipliers, M. Neely, "Stochastic Network Optimization with Application to Communication and
Queueing Systems" (2010); S. Low and D. Lapsley, "Optimization Flow Control, I", IEEE/ACM Transactions on Networking 7
(1999).
"""

from __future__ import annotations

from math import inf
from typing import Final

from headrace.policy.limit import Best, LimitView
from headrace.policy.quota import QuotaAccount
from headrace.policy.state import RequestState

FREE: Final = 0.5  # of a limit: with as much left nobody pays
HIGHEST: Final = 8.0  # of its scale, when nothing is left
MEMORY: Final = 0.995  # of a choice's weight in the scale, at the next one


class QuotaPrice:
    """Prices one quota.

    Attributes:
        lambda_usd_per_token: the price, as of the last choice; at least 0.
    """

    def __init__(self, account: QuotaAccount) -> None:
        self.lambda_usd_per_token = 0.0
        self._account = account
        self._saved_usd = 0.0
        self._saved_tokens = 0.0

    def passed(self, now_s: float) -> None:
        """A choice is made now: the price is that of what is left."""
        scale = self._saved_usd / self._saved_tokens if self._saved_tokens > 0.0 else 0.0
        scarce = min(1.0 - self._account.fill(now_s) / FREE, 1.0)
        self.lambda_usd_per_token = HIGHEST * scale * scarce if scarce > 0.0 else 0.0

    def surcharged(self, bests: list[Best], request: RequestState) -> list[Best]:
        """Add the price to the candidates that draw from the quota, and learn what a token of it saves."""
        account = self._account
        inside_usd = outside_usd = inf
        admitted, owed = account.need(request)
        use = admitted + owed
        price, mask = self.lambda_usd_per_token * use, account.mask
        priced: list[Best] = []
        for best in bests:
            total, index, score, backend, side = best
            if mask >> index & 1:
                inside_usd = min(inside_usd, total)
                best = (total + price, index, score, backend, side)
            else:
                outside_usd = min(outside_usd, total)
            priced.append(best)
        if inside_usd < outside_usd < inf:
            self._saved_usd = MEMORY * self._saved_usd + outside_usd - inside_usd
            self._saved_tokens = MEMORY * self._saved_tokens + use
        return priced

    def view(self, now_s: float) -> LimitView:
        """The limit now: how much of its scarcest bucket is used."""
        use = 1.0 - self._account.fill(now_s)
        return LimitView(f"quotas.{self._account.name}", "token", 1.0, use, self.lambda_usd_per_token)
