"""Many backends, priced at once: their rows as columns of a table, so that a choice does not cost a loop over all.

A loop over eight candidates costs little; over five hundred it is most of a decision. An event changes one backend, so
a table of all rows (pricing.py) stays current with one column written per event, and the scores of all are a dozen
operations on vectors.

The rule that it protects: the same bits. Every operation is the one that `Chooser` does for a single backend, in the
same order, element by element (no dot product: its order of summation depends on the machine), so how many backends a
fleet has never shows in an action. tests/policy/test_many_backends.py holds the two against each other.
"""

from __future__ import annotations

from inspect import isfunction
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.policy.pricing import BackendState, Row
from headrace.policy.state import RequestState

ROW: Final = 10  # figures of a row; held, queued and r of `BackendState.slots` follow
BLOCKED: Row = (inf, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class PriceTable:
    """Rows of all backends of an engine, by index."""

    def __init__(self, backends: tuple[BackendState, ...], stale: bytearray) -> None:
        """
        Args:
            stale: a byte for each backend, by index, that it sets when something happened to it.
        """
        self._backends = backends
        self._stale = stale
        self._rows = np.zeros((ROW + 3, len(backends)))
        self._blocked = np.zeros(len(backends), dtype=bool)

    def scores(self, now_s: float, request: RequestState, tried: int, longest_s: float) -> NDArray[np.float64]:
        """What the request would cost on each backend, by index, without the shares' prices.

        Infinite where it cannot go now, for the bit mask `tried`, and where the wait for a slot is longer than
        `longest_s`. Routes are not looked at.
        """
        self._refresh(now_s)
        i, o = float(request.input_tokens), request.expected_output_tokens
        v = request.workload_class.value_of_time_usd_per_s
        room_tokens, usd_in, usd_in2, usd_out, usd_io, t0, t1, t2, p0, p1, held, queued, r = self._rows
        tpot_s = p0 + p1 * i
        scores: NDArray[np.float64] = i * (usd_in + usd_in2 * i)
        scores += o * (usd_out + usd_io * i) + v * (t0 + i * (t1 + t2 * i) + (o - 1.0) * tpot_s)
        full = i + o > room_tokens
        if full.any():
            wait_s = queued[full] * o * tpot_s[full] / held[full]
            scores[full] += v * wait_s * r[full]
            scores[full] = np.where((wait_s > longest_s) & (held[full] + queued[full] > 2.0), inf, scores[full])
        scores[self._blocked] = inf
        if tried:
            scores[[b.index for b in self._backends if tried >> b.index & 1]] = inf
        return scores

    def _refresh(self, now_s: float) -> None:
        """Write the rows of the backends to which something happened, and of those that wait for their time."""
        index = self._stale.find(1)
        while index >= 0:
            backend = self._backends[index]
            free = backend.priced(now_s)
            self._blocked[index] = not free
            self._rows[:, index] = (*(backend.row() if free else BLOCKED), *backend.slots())
            self._stale[index] = backend.breaker.allows_from_s > now_s
            index = self._stale.find(1, index + 1)


# Backends from which on the table is not slower than the loop (docs/performance.md). A compiled loop is fast.
MANY = 128 if isfunction(PriceTable.scores) else 2048
