"""Metrics as text for Prometheus: format 0.0.4, each family with its HELP and TYPE.

A page is written on the event loop while requests wait, so what a line costs counts. The text is joined here from
labels that are written once a series; `prometheus-client` renders the same lines at about ten times the cost, checks
what it parses (`tests/telemetry`), and reads the process figures (`process`).

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format), read 2026-11.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

_SETTLING = threading.Lock()
Labels = tuple[tuple[str, str], ...]
Row = tuple[Labels, float]


class Histogram:
    """Counts of observations per bucket; a bound belongs to its bucket.

    Observations are put aside, a few nanoseconds each, and counted together by whoever reads, or by `settle`, which
    their owner calls about once a second. They are counted once, whichever threads do both.

    Attributes:
        observe: makes one observation.
    """

    __slots__ = ("_counts", "_total", "_waiting", "bounds", "observe")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._waiting: list[float] = []
        self.observe: Callable[[float], None] = self._waiting.append

    @property
    def counts(self) -> list[int]:
        """Observations by bucket; the last one is of those beyond all bounds."""
        self.settle()
        return self._counts

    @property
    def total(self) -> float:
        """Sum of all observations."""
        self.settle()
        return self._total

    def settle(self) -> None:
        """Count what was put aside."""
        waiting = self._waiting
        if not waiting:
            return
        with _SETTLING:
            number = len(waiting)  # what is put aside meanwhile comes after these
            values = waiting[:number]
            del waiting[:number]
            counted = np.bincount(np.searchsorted(self.bounds, values), minlength=len(self._counts)).tolist()
            self._counts = [ours + more for ours, more in zip(self._counts, counted, strict=True)]
            self._total = sum(values, self._total)

    def add(self, counts: list[int], total: float) -> None:
        """Add what another has observed in the same buckets."""
        with _SETTLING:
            self._counts = [ours + theirs for ours, theirs in zip(self._counts, counts, strict=True)]
            self._total += total


class Family(NamedTuple):
    """One metric and its series; `kind` is counter, gauge or histogram, and `rows` are of counters and gauges."""

    name: str
    kind: str
    text: str
    rows: Iterable[Row] = ()
    histograms: Iterable[tuple[Labels, Histogram]] = ()


def render(families: Iterable[Family]) -> bytes:
    """The page."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_help(family.text)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines.extend(
            f"{family.name}{{{written(labels)}}} {value}" if labels else f"{family.name} {value}"
            for labels, value in family.rows
        )
        for labels, histogram in family.histograms:
            lines.extend(_histogram(family.name, written(labels), histogram))
    return ("\n".join(lines) + "\n").encode()


def written(labels: Labels) -> str:
    """Labels as between the braces."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    seen, begin = 0, f"{name}_bucket{{{labels}{',' if labels else ''}le="
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        seen += count
        yield f'{begin}"{bound}"}} {seen}'
    rest = f"{{{labels}}}" if labels else ""
    yield f"{name}_sum{rest} {histogram.total}"
    yield f"{name}_count{rest} {seen}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
