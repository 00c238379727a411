"""What goes wrong with backends, and when: a timeline to simulate.

An incident holds from `from_s` on and no longer at `to_s`, in seconds of the run. Incidents may overlap: a backend is
up while nothing holds it down, and slowdowns and cuts multiply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that holds for a while.

    Attributes:
        backends: names of the backends that it hits.
        to_s: infinite for what does not end.
    """

    backends: tuple[str, ...]
    from_s: float
    to_s: float = inf

    def spells(self) -> Iterator[tuple[float, float]]:
        """When it holds: (start, end), in order, apart from each other."""
        yield self.from_s, self.to_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Down(Incident):
    """Connections are refused, and those that are open break."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping(Incident):
    """Down for the first `down_fraction` of every `period_s`."""

    period_s: float
    down_fraction: float

    def spells(self) -> Iterator[tuple[float, float]]:
        """Each time that it is down."""
        for number in count():
            start_s = self.from_s + number * self.period_s
            if start_s >= self.to_s:
                return
            yield start_s, min(start_s + self.down_fraction * self.period_s, self.to_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(Incident):
    """Everything on the backend takes `factor` times as long."""

    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaCut(Incident):
    """A service grants only `fraction` of each of its rate limits."""

    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale(Incident):
    """Signals come `delay_s` later than they should; None: what was measured last before it is said again and again."""

    delay_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAccelerator(Incident):
    """At `from_s` one accelerator of each backend is lost; the deployment's spares say how long that takes."""


def limited_to(incidents: tuple[Incident, ...], backends: frozenset[str]) -> tuple[Incident, ...]:
    """The same incidents on these backends only; those that hit none of them are left out."""
    hits = (replace(each, backends=tuple(b for b in each.backends if b in backends)) for each in incidents)
    return tuple(each for each in hits if each.backends)
