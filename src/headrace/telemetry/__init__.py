"""How a process tells what it does: metrics as text, logs, traces. It knows nothing of the gateway."""

from headrace.telemetry.access_log import AccessLog
from headrace.telemetry.conventions import error_of
from headrace.telemetry.exposition import Family, Histogram, Labels, Row, render, written
from headrace.telemetry.gen_ai_metrics import GenAiMetrics
from headrace.telemetry.logs import set_up_logs, tell
from headrace.telemetry.process import process_families
from headrace.telemetry.recorder import Recorder, Sink
from headrace.telemetry.trace_context import Sampler, TraceContext, passed_on
from headrace.telemetry.trail import NONE, AttemptTrail, Tokens, Trail

__all__ = [
    "NONE",
    "AccessLog",
    "AttemptTrail",
    "Family",
    "GenAiMetrics",
    "Histogram",
    "Labels",
    "Recorder",
    "Row",
    "Sampler",
    "Sink",
    "Tokens",
    "TraceContext",
    "Trail",
    "error_of",
    "passed_on",
    "process_families",
    "render",
    "set_up_logs",
    "tell",
    "written",
]
