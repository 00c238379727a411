"""Work: what a request counts for in a share, by the share's unit.

Every unit is linear in the request:  work = per_request + per_input_token * input + per_output_token * output.
`requests` is (1, 0, 0), `output_tokens` is (0, 0, 1), `compute` is (0, a, b) with seconds on a reference deployment.
"""

from __future__ import annotations

from typing import NamedTuple


class WorkRate(NamedTuple):
    """Work of a request, in the unit of a share (requests, tokens, or reference seconds)."""

    per_request: float
    per_input_token: float
    per_output_token: float

    def work(self, input_tokens: float, output_tokens: float) -> float:
        """Work of a request of this size."""
        return self.per_request + self.per_input_token * input_tokens + self.per_output_token * output_tokens
