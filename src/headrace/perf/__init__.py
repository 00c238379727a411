"""How fast a deployment is: memory, laws, coefficients, speed curves, and work in reference seconds."""

from headrace.perf.calibrated import steps_between
from headrace.perf.closed_loop import Place, closed_loop
from headrace.perf.coefficients import Coefficient, coefficient, coefficients, releases
from headrace.perf.conservation import Claim, Violation, check_conservation, violations
from headrace.perf.continuous import Load, ServedEstimate, Split, serve_many, served_estimates
from headrace.perf.curve import speed_curve
from headrace.perf.dataflow import user_tokens_per_s, users_that_fit
from headrace.perf.decode import decode_step_s, prefill_s
from headrace.perf.estimate import Estimate
from headrace.perf.law import Law, declares_speculation, is_predictable, speculates, speed_law
from headrace.perf.memory import (
    MemoryFit,
    accelerators_needed,
    kv_bytes_per_sequence,
    kv_bytes_per_token,
    kv_token_bytes,
    linear_state_bytes,
    memory_fit,
    weight_bytes,
)
from headrace.perf.scale_out import fleet_rate
from headrace.perf.speculation import tokens_per_pass
from headrace.perf.speed import Serving, SpeedCurve
from headrace.perf.work import compute_rate, work_rate

__all__ = [
    "Claim",
    "Coefficient",
    "Estimate",
    "Law",
    "Load",
    "MemoryFit",
    "Place",
    "ServedEstimate",
    "Serving",
    "SpeedCurve",
    "Split",
    "Violation",
    "accelerators_needed",
    "check_conservation",
    "closed_loop",
    "coefficient",
    "coefficients",
    "compute_rate",
    "declares_speculation",
    "decode_step_s",
    "fleet_rate",
    "is_predictable",
    "kv_bytes_per_sequence",
    "kv_bytes_per_token",
    "kv_token_bytes",
    "linear_state_bytes",
    "memory_fit",
    "prefill_s",
    "releases",
    "serve_many",
    "served_estimates",
    "speculates",
    "speed_curve",
    "speed_law",
    "steps_between",
    "tokens_per_pass",
    "user_tokens_per_s",
    "users_that_fit",
    "violations",
    "weight_bytes",
    "work_rate",
]
