"""How fast a deployment is: memory, roofline, coefficients, speed curves, and work in reference seconds."""

from headrace.perf.closed_loop import closed_loop
from headrace.perf.coefficients import Coefficient, coefficient, coefficients, has_coefficients
from headrace.perf.conservation import Claim, Violation, check_conservation, violations
from headrace.perf.continuous import Load, ServedEstimate, Split, serve_many, served_estimates
from headrace.perf.curve import speed_curve
from headrace.perf.estimate import Estimate
from headrace.perf.memory import (
    MemoryFit,
    accelerators_needed,
    kv_bytes_per_sequence,
    kv_bytes_per_token,
    linear_state_bytes,
    memory_fit,
    weight_bytes,
)
from headrace.perf.roofline import decode_step_s, prefill_s
from headrace.perf.speed import Serving, SpeedCurve
from headrace.perf.work import compute_rate, work_rate

__all__ = [
    "Claim",
    "Coefficient",
    "Estimate",
    "Load",
    "MemoryFit",
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
    "decode_step_s",
    "has_coefficients",
    "kv_bytes_per_sequence",
    "kv_bytes_per_token",
    "linear_state_bytes",
    "memory_fit",
    "prefill_s",
    "serve_many",
    "served_estimates",
    "speed_curve",
    "violations",
    "weight_bytes",
    "work_rate",
]
