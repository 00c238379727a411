"""Calibration files: TOML that `headrace calibrate` writes and a deployment of the fleet file names.

Read as strictly as the fleet file: every fault at once, each with its path.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from headrace.config.document import Count, NotNegative, Positive, Table, Text
from headrace.config.faults import Faults
from headrace.errors import ConfigError, Fault
from headrace.fleet import Calibration, Measured

SCHEMA = 1


class CoefficientTable(Table, frozen=True, kw_only=True):
    """One coefficient: `low` and `high` are its 80 % interval; `n` is 0 where it was stated and not fitted."""

    value: NotNegative
    low: NotNegative
    high: NotNegative
    n: Annotated[int, Meta(ge=0)]
    unit: Text


class StepTable(CoefficientTable, frozen=True, kw_only=True):
    """`[[decode_step_s]]`: a decode step of `batch` sequences, without their context."""

    batch: Count
    value: Positive


class CountTable(Table, frozen=True, kw_only=True):
    """A whole number, with the values that explain the measurements about as well."""

    value: Count
    low: Count
    high: Count
    n: Annotated[int, Meta(ge=0)]
    unit: Text
    note: str = ""


class CoefficientsTable(Table, frozen=True, kw_only=True):
    """`[coefficients]`; see `perf.SpeedCurve` for what each one means."""

    ttft_overhead_s: CoefficientTable
    prefill_fixed_s: CoefficientTable
    prefill_s_per_token: CoefficientTable
    prefill_s_per_token_squared: CoefficientTable
    kv_s_per_token: CoefficientTable
    max_batch: CountTable
    chunk_tokens: CountTable


class OriginTable(Table, frozen=True, kw_only=True):
    """`[origin]`: what was measured, when, and in which files."""

    endpoint: Text
    model: Text
    probes: list[Text]
    measured: Text
    fitted: Text


class ErrorTable(Table, frozen=True, kw_only=True):
    """Absolute relative errors of predictions of `n` points."""

    n: Count
    median: NotNegative
    p90: NotNegative


class FitTable(Table, frozen=True, kw_only=True):
    """`[fit]`: how wrong the fit is, where it was fitted and where it was not."""

    ttft: ErrorTable
    tpot: ErrorTable
    held_out_ttft: ErrorTable | None = None
    held_out_tpot: ErrorTable | None = None


class CalibrationTable(Table, frozen=True, kw_only=True):
    """The whole file."""

    schema: int
    name: Text
    origin: OriginTable
    coefficients: CoefficientsTable
    decode_step_s: list[StepTable]
    fit: FitTable


def load_calibration(path: Path) -> Calibration:
    """The calibration that the file at `path` holds.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has faults; it carries all of them.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(str(path), [Fault("file", f"cannot be read: {reason}; check the path")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [Fault("syntax", f"not valid TOML: {error}")]) from error
    faults = Faults()
    table = faults.table(raw, CalibrationTable, "")
    if table is not None:
        _check(table, faults)
    if table is None or len(faults):
        raise ConfigError(str(path), faults.all())
    return _calibration(table, str(path))


def _check(table: CalibrationTable, faults: Faults) -> None:
    """What no field alone can say."""
    if table.schema != SCHEMA:
        faults.add("schema", f"{table.schema} is not supported; this version reads schema = {SCHEMA}")
    batches = [step.batch for step in table.decode_step_s]
    if not batches or batches[0] != 1 or sorted(set(batches)) != batches:
        faults.add("decode_step_s", f"batches {batches}; they begin with 1 and increase")
    if batches and table.coefficients.max_batch.value < batches[-1]:
        faults.add("coefficients.max_batch.value", f"is less than the largest batch of decode_step_s, {batches[-1]}")
    for name in CoefficientsTable.__struct_fields__:
        one: CoefficientTable | CountTable = getattr(table.coefficients, name)
        _check_interval(one, f"coefficients.{name}", faults)
    for index, step in enumerate(table.decode_step_s):
        _check_interval(step, f"decode_step_s[{index}]", faults)


def _check_interval(one: CoefficientTable | CountTable, path: str, faults: Faults) -> None:
    if not one.low <= one.value <= one.high:
        faults.add(path, f"value {one.value:g} lies outside its interval [{one.low:g}, {one.high:g}]")


def _calibration(table: CalibrationTable, source: str) -> Calibration:
    found = table.coefficients
    return Calibration(
        name=table.name,
        source=source,
        endpoint=table.origin.endpoint,
        measured=table.origin.measured,
        ttft_overhead_s=_measured(found.ttft_overhead_s),
        prefill_fixed_s=_measured(found.prefill_fixed_s),
        prefill_s_per_token=_measured(found.prefill_s_per_token),
        prefill_s_per_token_squared=_measured(found.prefill_s_per_token_squared),
        kv_s_per_token=_measured(found.kv_s_per_token),
        steps=tuple((step.batch, _measured(step)) for step in table.decode_step_s),
        max_batch=found.max_batch.value,
        measured_batch=table.decode_step_s[-1].batch,
        chunk_tokens=found.chunk_tokens.value,
    )


def _measured(table: CoefficientTable) -> Measured:
    return Measured(table.value, table.low, table.high, table.n)
