"""Measuring live endpoints: open-loop replay over real HTTP, probes within a budget, and what is fitted to them."""

from headrace.bench.calibrate import UNITS, CalibrationResult, CountFact, ErrorFacts, calibrate
from headrace.bench.calibration_file import calibration_text
from headrace.bench.flight import Flight
from headrace.bench.probe import (
    ProbeOutcome,
    ProbeProgress,
    ProbeSettings,
    complete_cells,
    probe,
    spent_before,
)
from headrace.bench.probe_file import ProbeFile, ProbeHeader, ProbeRecord, read_probe
from headrace.bench.probe_plan import Budget, Cell, ProbePlan, Selection, Shot, Spend, select
from headrace.bench.probe_summary import PrefixEffect, ProbeSummary, Seen, summarise
from headrace.bench.prompt import BYTES_PER_TOKEN, RequestWriter
from headrace.bench.replay import ReplayProgress, ReplayResult, ReplaySettings, live_metrics, marginal_costs, replay
from headrace.bench.sizing import Sizing, fit_sizing, unique_prompt, unique_text

__all__ = [
    "BYTES_PER_TOKEN",
    "UNITS",
    "Budget",
    "CalibrationResult",
    "Cell",
    "CountFact",
    "ErrorFacts",
    "Flight",
    "PrefixEffect",
    "ProbeFile",
    "ProbeHeader",
    "ProbeOutcome",
    "ProbePlan",
    "ProbeProgress",
    "ProbeRecord",
    "ProbeSettings",
    "ProbeSummary",
    "ReplayProgress",
    "ReplayResult",
    "ReplaySettings",
    "RequestWriter",
    "Seen",
    "Selection",
    "Shot",
    "Sizing",
    "Spend",
    "calibrate",
    "calibration_text",
    "complete_cells",
    "fit_sizing",
    "live_metrics",
    "marginal_costs",
    "probe",
    "read_probe",
    "replay",
    "select",
    "spent_before",
    "summarise",
    "unique_prompt",
    "unique_text",
]
