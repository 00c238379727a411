"""Continuous batching on external-memory chips: TPOT and TTFT of a closed loop of clients, in closed form."""

from headrace.perf.continuous.estimate import ServedEstimate, serve_many, served_estimates
from headrace.perf.continuous.line import Line, decode_estimate, line_of, prompt_estimate
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
from headrace.perf.continuous.points import Load, Points, Split, flops_of, points_of
from headrace.perf.continuous.step import decode_step_s

__all__ = [
    "EFFECTS",
    "GROUPS",
    "PARAMETERS",
    "Fitted",
    "Levels",
    "Line",
    "Load",
    "Parameter",
    "Points",
    "Served",
    "ServedEstimate",
    "Split",
    "decode_estimate",
    "decode_step_s",
    "fitted",
    "flops_of",
    "levels_of",
    "line_of",
    "points_of",
    "prompt_estimate",
    "serve",
    "serve_many",
    "served_estimates",
    "theta_of",
]
