"""One figure of a running process, as Prometheus is told it."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """A figure without labels; its unit is the end of its name. `text` says what it is."""

    name: str
    kind: Literal["gauge", "counter"]
    text: str
    value: float
