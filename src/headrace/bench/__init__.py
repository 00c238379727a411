"""Measuring live endpoints: open-loop replay over real HTTP."""

from headrace.bench.flight import Flight
from headrace.bench.prompt import BYTES_PER_TOKEN, RequestWriter
from headrace.bench.replay import ReplayProgress, ReplayResult, ReplaySettings, live_metrics, marginal_costs, replay

__all__ = [
    "BYTES_PER_TOKEN",
    "Flight",
    "ReplayProgress",
    "ReplayResult",
    "ReplaySettings",
    "RequestWriter",
    "live_metrics",
    "marginal_costs",
    "replay",
]
