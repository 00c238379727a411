"""A calibration as the TOML file that a fleet file names; `config.load_calibration` reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from headrace.bench.calibrate import UNITS, CalibrationResult, CountFact, ErrorFacts
from headrace.fleet import Measured


def calibration_text(name: str, result: CalibrationResult, probes: Sequence[str], fitted: str) -> str:
    """The file.

    Args:
        name: of the calibration, for messages.
        probes: names of the probe files.
        fitted: date of the fit.
    """
    lines = [
        "# Written by `headrace calibrate`; a deployment of a fleet file names it with `calibrated`.",
        "# Seconds and tokens; low and high are 80 % intervals; n = 0: stated or bounded, not fitted.",
        "schema = 1",
        f"name = {_text(name)}",
        "",
        "[origin]",
        f"endpoint = {_text(result.endpoint)}",
        f"model = {_text(result.model)}",
        f"probes = [{', '.join(_text(probe) for probe in probes)}]",
        f"measured = {_text(result.measured)}",
        f"fitted = {_text(fitted)}",
        "",
        "[coefficients]",
    ]
    lines += [f"{key} = {_measured(value, UNITS[key])}" for key, value in result.coefficients.items()]
    lines += [f"max_batch = {_count(result.max_batch, 'sequences')}"]
    lines += [f"chunk_tokens = {_count(result.chunk_tokens, 'tokens')}", ""]
    for batch, step in result.steps:
        lines += ["[[decode_step_s]]", f"batch = {batch}", *_measured(step, "s")[2:-2].split(", "), ""]
    lines += ["# Absolute relative errors; held_out: every fifth measurement, of a fit without them.", "[fit]"]
    errors = {"ttft": result.ttft, "tpot": result.tpot}
    held_out = {"held_out_ttft": result.held_out_ttft, "held_out_tpot": result.held_out_tpot}
    lines += [f"{key} = {_errors(value)}" for key, value in (errors | held_out).items() if value is not None]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's."""
    return json.dumps(value)


def _number(value: float) -> str:
    return f"{value:.6e}"


def _measured(value: Measured, unit: str) -> str:
    figures = f"value = {_number(value.value)}, low = {_number(value.low)}, high = {_number(value.high)}"
    return f"{{ {figures}, n = {value.n}, unit = {_text(unit)} }}"


def _count(value: CountFact, unit: str) -> str:
    figures = f"value = {value.value}, low = {value.low}, high = {value.high}, n = {value.n}"
    return f"{{ {figures}, unit = {_text(unit)}, note = {_text(value.note)} }}"


def _errors(value: ErrorFacts) -> str:
    return f"{{ n = {value.n}, median = {value.median:.4f}, p90 = {value.p90:.4f} }}"
