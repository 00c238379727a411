"""Arrival processes: when requests come.

A mean rate and a coefficient of variation do not define burstiness. Coding assistants fire in bursts with silence
between them; chat is Poisson within a minute while its rate wanders from minute to minute. What a router feels is the
first second, what a fleet feels is the minute, so each process here was chosen by its counts at 1, 10 and 60 s.

Every process yields times forever, in order, from 0. `scale` multiplies its mean rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, sqrt
from random import Random
from typing import Protocol

from headrace.workload.lengths import LogNormal, LogNormalMixture


class ArrivalProcess(Protocol):
    """When requests come."""

    def times_s(self, random: Random, scale: float = 1.0) -> Iterator[float]:
        """Arrival times in seconds, increasing, without end."""


@dataclass(frozen=True, slots=True)
class Poisson:
    """Memoryless arrivals at a constant rate."""

    rate_req_per_s: float

    def times_s(self, random: Random, scale: float = 1.0) -> Iterator[float]:
        """Arrival times in seconds."""
        rate = self.rate_req_per_s * scale
        now_s = 0.0
        while True:
            now_s += random.expovariate(rate)
            yield now_s


@dataclass(frozen=True, slots=True)
class WanderingPoisson:
    """Poisson within a step; the log of the rate follows an AR(1) process from step to step.

    Attributes:
        log_rate_mean: mean of the log of the rate in requests/s.
        log_rate_sd: its stationary standard deviation.
        correlation: of the log rates of two neighbouring steps.
    """

    log_rate_mean: float
    log_rate_sd: float
    correlation: float
    step_s: float = 60.0

    def times_s(self, random: Random, scale: float = 1.0) -> Iterator[float]:
        """Arrival times in seconds."""
        innovation = sqrt(1.0 - self.correlation**2)
        deviation = random.gauss(0.0, 1.0)
        step = 0
        while True:
            rate = scale * exp(self.log_rate_mean + self.log_rate_sd * deviation)
            now_s = step * self.step_s + random.expovariate(rate)
            step += 1
            while now_s < step * self.step_s:
                yield now_s
                now_s += random.expovariate(rate)
            deviation = self.correlation * deviation + innovation * random.gauss(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class OnOffGaps:
    """Bursts and silences: independent gaps from a mixture, and now and then a long one.

    `scale` shortens every gap, so bursts keep their shape in requests.

    Attributes:
        gap_s: gaps within a burst.
        off_probability: chance that a gap is a silence; `off_s`: how long.
    """

    gap_s: LogNormalMixture
    off_probability: float
    off_s: LogNormal

    def times_s(self, random: Random, scale: float = 1.0) -> Iterator[float]:
        """Arrival times in seconds."""
        now_s = 0.0
        while True:
            silent = random.random() < self.off_probability
            now_s += (self.off_s.draw(random) if silent else self.gap_s.draw(random)) / scale
            yield now_s
