"""How many attempts a backend may have so that the answers on it keep their class's SLO on TPOT.

Who decodes pays for whoever comes: each step of a batch carries prompts of newcomers, and takes longer by them. With B
in flight, of P seconds of prefill and O output tokens each, a token takes about

    TPOT = step + (B - 1) * P / O

so it is B that has to be held, and short answers to long prompts break first, often before a batch is full. A request
that is held waits in the queue, where the more valuable overtake it (`waiting.py`).

P and O are a mixture that changes, and misses are in its tail. So B is not worked out but found, as a sender finds what
a network carries: with m the part of a class's answers that missed, smoothed, and a its `SAFETY * (1 - attainment)`,

    an answer missed, and m > a    limit = (1 - CUT) * what is in flight    once per answer's life: who was sent
                                                                            before a cut says nothing of it
    an answer did not miss         limit grows by the factor e in `GROWTH_S`, until it holds nobody

The rule that it protects: a limit never falls below `LOWEST` of what the backend can run at once. Misses that no limit
cures (a speed that was promised and is not there) cost a part of the throughput, not all of it.

Source: D.-M. Chiu and R. Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer
Networks", Computer Networks and ISDN Systems 17 (1989): additive increase and multiplicative decrease; here an
increase by parts, so that the time to recover does not depend on the size of a backend.
"""

from __future__ import annotations

from math import exp, inf
from typing import Final

from headrace.workload import WorkloadClass

SAFETY: Final = 0.8  # of the misses that are allowed: the rest is for what else may miss
MEMORY: Final = 0.02  # of an answer's weight in the fraction that missed
FORGOTTEN: Final = 0.25 * MEMORY  # of such a fraction: as good as none
CUT: Final = 0.15  # of what is in flight
GROWTH_S: Final = 30.0  # in which a limit grows by the factor e
LOWEST: Final = 0.25  # of what it can run at once
NO_LIMIT: Final = 2.0  # times that: further limits hold nobody


class TpotLimit:
    """The limit of one backend.

    Attributes:
        in_flight: attempts that it may have; infinite until answers miss.
        learns: answers that do not miss are of concern too: some have, of late.
    """

    __slots__ = ("_at_s", "_cut_s", "_missed", "_most", "in_flight", "learns")

    def __init__(self, most: int) -> None:
        """
        Args:
            most: attempts that the backend can run at once.
        """
        self.in_flight = inf
        self.learns = False
        self._most = float(most)
        self._missed: dict[str, float] = {}
        self._cut_s = self._at_s = 0.0

    def inherit(self, before: TpotLimit) -> None:
        """Take over what was learnt of the same backend."""
        self.in_flight, self.learns, self._missed = before.in_flight, before.learns, dict(before._missed)
        self._cut_s, self._at_s = before._cut_s, before._at_s

    def answered(
        self, now_s: float, workload_class: WorkloadClass, dispatched_s: float, tpot_s: float, in_flight: int
    ) -> None:
        """An answer is complete; so many were in flight, itself included."""
        slo_s = workload_class.slo.tpot_s
        if slo_s is None:
            self._grow(now_s)
        elif tpot_s <= slo_s:
            self._learn(workload_class, 0.0)
            self._grow(now_s)
        elif self._learn(workload_class, 1.0) > _allowed(workload_class) and dispatched_s >= self._cut_s:
            self.in_flight = max((1.0 - CUT) * min(self.in_flight, in_flight), LOWEST * self._most, 1.0)
            self._cut_s = now_s
        self._at_s = now_s
        self.learns = bool(self._missed)

    def _learn(self, workload_class: WorkloadClass, missed: float) -> float:
        """The fraction of its class that missed, with one more."""
        before = self._missed.get(workload_class.name, 0.0)
        part = before + MEMORY * (missed - before)
        if part < FORGOTTEN and self.in_flight == inf:
            self._missed.pop(workload_class.name, None)
        else:
            self._missed[workload_class.name] = part
        return part

    def _grow(self, now_s: float) -> None:
        """More may be tried, the longer the last answer is ago; none is held where the limit would bind no more."""
        self.in_flight *= exp(min((now_s - self._at_s) / GROWTH_S, 1.0))
        if self.in_flight > NO_LIMIT * self._most:
            self.in_flight = inf


def _allowed(workload_class: WorkloadClass) -> float:
    """The fraction of its answers that may miss, less a little."""
    return SAFETY * (1.0 - workload_class.slo.attainment)
