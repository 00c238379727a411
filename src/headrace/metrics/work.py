"""Work: what a request counts for in a share, a commitment or a budget, by its unit.

Every unit is linear in the request:  work = per_request + per_input_token * input + per_output_token * output,
less `cached_saves` for every input token that was found in the cache. `requests` is (1, 0, 0), `output_tokens` is
(0, 0, 1), `compute` is (0, a, b) with seconds on a reference deployment: the same wherever a request runs. `spend` and
`power` have a rate for every pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class WorkRate(NamedTuple):
    """Work of a request, in some unit (requests, tokens, reference seconds, USD, joules)."""

    per_request: float
    per_input_token: float
    per_output_token: float
    cached_saves: float = 0.0

    def work(self, input_tokens: float, output_tokens: float, cached_input_tokens: float = 0.0) -> float:
        """Work of a request of this size; `cached_input_tokens` is a part of `input_tokens`."""
        per_request, per_input_token, per_output_token, cached_saves = self
        work = per_request + per_input_token * input_tokens + per_output_token * output_tokens
        return work - cached_saves * cached_input_tokens if cached_input_tokens else work


PoolRates = Mapping[str, WorkRate]  # by name of the pool where a request runs
Rates = WorkRate | PoolRates  # the same everywhere, or by pool
