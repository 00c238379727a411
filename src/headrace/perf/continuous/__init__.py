"""Continuous batching on external-memory chips: TPOT and TTFT of a closed loop of clients, in closed form."""

from headrace.perf.continuous.estimate import ServedEstimate, serve_many, served_estimates
from headrace.perf.continuous.loop import Served, serve
from headrace.perf.continuous.parameters import (
    EFFECTS,
    GROUPS,
    PARAMETERS,
    Fitted,
    Levels,
    Parameter,
    fitted,
    levels_of,
    theta_of,
)
from headrace.perf.continuous.points import Load, Points, Split, points_of
from headrace.perf.continuous.step import decode_step_s

__all__ = [
    "EFFECTS",
    "GROUPS",
    "PARAMETERS",
    "Fitted",
    "Levels",
    "Load",
    "Parameter",
    "Points",
    "Served",
    "ServedEstimate",
    "Split",
    "decode_step_s",
    "fitted",
    "levels_of",
    "points_of",
    "serve",
    "serve_many",
    "served_estimates",
    "theta_of",
]
