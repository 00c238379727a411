"""What simulated workers tell each other: every interval, what each was by the end of the interval before.

Live, a worker reads what its peers last wrote (`headrace.peers`), which is as old as up to one interval. Here it is
always that old: nobody simulated knows more than somebody live.
"""

from __future__ import annotations

from headrace.policy import PeersReported
from headrace.sim.driver import SimulationDriver


class PeerFeed:
    """Has the workers of a run tell each other what they do, every `interval_s`."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s

    def start(self, driver: SimulationDriver) -> None:
        """Exchange while `driver` runs."""
        self._driver = driver
        self._exchange_at(self._interval_s)

    def _exchange_at(self, at_s: float) -> None:
        def exchange(now_s: float) -> None:
            if not self._driver.over:
                self._driver.tell(now_s, PeersReported(now_s, 0))  # `Workers` knows what each one's peers say
                self._exchange_at(at_s + self._interval_s)

        self._driver.kernel.in_background(at_s, exchange)
