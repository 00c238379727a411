"""The price of a pool's KV room: what holding context costs while the pool is fuller than it should be.

A pool whose KV cache is full preempts and queues, and a request that holds much context for long is what fills it. So
where a pool has `max_kv_fraction`, every request pays on it

    lambda * use        use = context tokens * E2E seconds, in token-seconds (the speed model's, at the present load)

and lambda, never below 0, follows the tokens that the pool's attempts are expected to hold, by dual ascent in time:

    d lambda / dt = scale / RISE_S * (held / room - max_kv_fraction) / WIDTH      (no faster than scale / RISE_S)

It rises while the limit is exceeded and falls while there is slack. `scale` is the mean saving per token-second that
the pool offers over the best other one, so that no constant here has a unit of money.

Source: dual ascent on a resource constraint, as in `prices.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from headrace.policy.limit import Best, LimitView
from headrace.policy.pricing import BackendState
from headrace.policy.state import RequestState
from headrace.sums import float_sum

RISE_S: Final = 30.0  # lambda moves by its scale in this time, when the limit is missed by WIDTH
WIDTH: Final = 0.1  # of the room
HIGHEST: Final = 20.0  # of its scale: a limit that cannot be met leaves no price that takes hours to fall
MEMORY: Final = 0.995  # of a choice's weight in the scale, at the next one


class KvPrice:
    """Keeps one pool's expected KV tokens within a fraction of its room.

    Attributes:
        lambda_usd_per_token_s: the price; at least 0.
    """

    def __init__(
        self, pool: str, backends: Sequence[BackendState], max_fraction: float, starting_price_usd: float = 0.0
    ) -> None:
        self.pool = pool
        self.lambda_usd_per_token_s = self._start = starting_price_usd
        self._backends = tuple(each for each in backends if each.pool == pool)
        self._room_tokens = float_sum(each.kv_capacity_tokens for each in self._backends)
        self._limit = max_fraction
        self._held = 0.0
        self._at_s = 0.0
        self._saved_usd = 0.0
        self._saved_use = 0.0

    def surcharged(self, bests: list[Best], request: RequestState) -> list[Best]:
        """Add the price to the candidates of the pool, and learn what the pool saves."""
        inside_usd = outside_usd = inf
        used = 0.0
        priced: list[Best] = []
        for best in bests:
            total, index, score, backend, side = best
            if backend.pool == self.pool:
                use = _token_seconds(request, backend)
                if total < inside_usd:
                    inside_usd, used = total, use
                best = (total + self.lambda_usd_per_token_s * use, index, score, backend, side)
            elif total < outside_usd:
                outside_usd = total
            priced.append(best)
        if inside_usd < outside_usd < inf:
            self._saved_usd = MEMORY * self._saved_usd + outside_usd - inside_usd
            self._saved_use = MEMORY * self._saved_use + used
        return priced

    def changed(self, now_s: float) -> None:
        """An attempt was dispatched or has ended: the price has moved by what was held until now."""
        excess = (self._held / self._room_tokens - self._limit) / WIDTH
        bounded = max(-1.0, min(1.0, excess))
        scale = self._saved_usd / self._saved_use if self._saved_use > 0.0 else 0.0
        moved = self.lambda_usd_per_token_s + scale * bounded * (now_s - self._at_s) / RISE_S
        self.lambda_usd_per_token_s = max(0.0, min(moved, max(HIGHEST * scale, self._start)))
        self._at_s = now_s
        self._held = float_sum(each.kv_tokens for each in self._backends)

    def view(self) -> LimitView:
        """The limit now."""
        use = self._held / self._room_tokens
        return LimitView(f"pools.{self.pool}.max_kv_fraction", "token_s", self._limit, use, self.lambda_usd_per_token_s)


def _token_seconds(request: RequestState, backend: BackendState) -> float:
    i, o = request.input_tokens, request.expected_output_tokens
    ttft_s, tpot_s = backend.latency(i, o, request.cached_tokens(backend))
    return (i + o) * (ttft_s + (o - 1.0) * tpot_s)
