"""How fast a deployment is: memory, roofline, coefficients, speed curves, and work in reference seconds."""

from headrace.perf.calibrated import steps_between
from headrace.perf.coefficients import Coefficient, coefficient, coefficients, has_coefficients
from headrace.perf.curve import speed_curve
from headrace.perf.memory import (
    MemoryFit,
    accelerators_needed,
    kv_bytes_per_sequence,
    kv_bytes_per_token,
    memory_fit,
    weight_bytes,
)
from headrace.perf.roofline import Estimate, decode_step_s, prefill_s
from headrace.perf.speed import Serving, SpeedCurve
from headrace.perf.work import compute_rate, work_rate

__all__ = [
    "Coefficient",
    "Estimate",
    "MemoryFit",
    "Serving",
    "SpeedCurve",
    "accelerators_needed",
    "coefficient",
    "coefficients",
    "compute_rate",
    "decode_step_s",
    "has_coefficients",
    "kv_bytes_per_sequence",
    "kv_bytes_per_token",
    "memory_fit",
    "prefill_s",
    "speed_curve",
    "steps_between",
    "weight_bytes",
    "work_rate",
]
