"""Calibration: the coefficients of a live endpoint, from its probes, with intervals, errors and origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.bench.fit import COEFFICIENTS, Z_80, FitCell, FitJob, Fitted, fit, relative_errors, solve
from headrace.bench.probe_file import ProbeHeader, ProbeRecord
from headrace.errors import ConfigError, Fault
from headrace.fleet import Measured

UNITS = {
    "ttft_overhead_s": "s",
    "prefill_fixed_s": "s",
    "prefill_s_per_token": "s/token",
    "prefill_s_per_token_squared": "s/token^2",
    "kv_s_per_token": "s/token",
}
FITTED_KINDS = ("single", "batch", "inject", "queue")
LEAST_LENGTHS = 3
LEAST_SINGLES = 4
HOLD_OUT = 5


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """Absolute relative errors of the predictions of `n` points."""

    n: int
    median: float
    p90: float


@dataclass(frozen=True, slots=True)
class CountFact:
    """A whole number that was fitted or stated (`n` = 0), and the range that explains the probe about as well."""

    value: int
    low: int
    high: int
    n: int
    note: str


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What was fitted, how wrong it is, and where it comes from.

    Attributes:
        steps: (batch, step) of every batch that was measured.
        held_out_ttft, held_out_tpot: errors on every fifth cell, of a fit without them; None with too few cells.
        measured: dates of the first and the last request.
    """

    endpoint: str
    model: str
    measured: str
    coefficients: dict[str, Measured]
    steps: tuple[tuple[int, Measured], ...]
    max_batch: CountFact
    chunk_tokens: CountFact
    ttft: ErrorFacts
    tpot: ErrorFacts
    held_out_ttft: ErrorFacts | None
    held_out_tpot: ErrorFacts | None


def calibrate(
    probes: Sequence[tuple[ProbeHeader, Sequence[ProbeRecord]]], max_batch: int | None = None
) -> CalibrationResult:
    """Fit the probes of one endpoint.

    Args:
        max_batch: slots of the server, where its operator knows them; None: as the queue shows them, or else the
            largest concurrency that was measured.

    Raises:
        ConfigError: the probes are of several models, or hold too little to tell a coefficient; each is named.
    """
    cells = [cell for _, records in probes for cell in fit_cells(records)]
    _check(probes, cells, max_batch)
    knots = sorted({cell.concurrency for cell in cells if cell.kind in ("single", "batch")})
    slots = _slots(cells, max_batch, knots[-1])
    best, chunks = fit(cells, knots, slots.value)
    ttft, tpot = relative_errors(best.curve(), cells)
    held_out = _held_out(cells, knots, best)
    dates = sorted(record.at for _, records in probes for record in records)
    return CalibrationResult(
        endpoint=probes[0][0].url,
        model=probes[0][0].model,
        measured=" to ".join(dict.fromkeys((dates[0][:10], dates[-1][:10]))),
        coefficients=_coefficients(best, len(ttft)),
        steps=_steps(best, cells),
        max_batch=slots,
        chunk_tokens=_chunk(best, chunks, cells),
        ttft=_errors(ttft),
        tpot=_errors(tpot),
        held_out_ttft=_errors(held_out[0]) if held_out[0] else None,
        held_out_tpot=_errors(held_out[1]) if held_out[1] else None,
    )


def fit_cells(records: Iterable[ProbeRecord]) -> list[FitCell]:
    """The cells of a probe that can be fitted: complete, and nothing of them found in a cache."""
    runs: dict[tuple[str, int], list[ProbeRecord]] = {}
    for record in records:
        if record.kind in FITTED_KINDS:
            runs.setdefault((record.cell, record.attempt), []).append(record)
    found = {}
    for (name, _), run in runs.items():
        if all(record.completed and record.ttft_s and not record.cached_input_tokens for record in run):
            jobs = tuple(_job(record) for record in sorted(run, key=lambda record: record.sent_s))
            found[name] = FitCell(run[0].kind, len(jobs), jobs)
    return list(found.values())


def _job(record: ProbeRecord) -> FitJob:
    tpot_s = record.tpot_s if record.tpot_s and record.tpot_s > 0.0 else None
    return FitJob(
        record.sent_s,
        record.input_tokens or 1,
        max(record.output_tokens or 1, 1),
        record.ttft_s or 0.0,
        tpot_s,
        record.gap_max_s,
    )


def _check(
    probes: Sequence[tuple[ProbeHeader, Sequence[ProbeRecord]]], cells: Sequence[FitCell], max_batch: int | None
) -> None:
    """Whether the probes can tell every coefficient; raises with everything that is missing."""
    faults = []
    models = sorted({f"{header.model} at {header.url}" for header, _ in probes})
    if len(models) > 1:
        faults.append(Fault("probes", f"of several endpoints: {', '.join(models)}; calibrate one at a time"))
    singles = [cell for cell in cells if cell.kind == "single"]
    lengths = {round(cell.jobs[0].input_tokens, -1) for cell in singles}
    if len(lengths) < LEAST_LENGTHS or len(singles) < LEAST_SINGLES:
        said = f"{len(singles)} single requests of {len(lengths)} lengths; at least {LEAST_SINGLES} of {LEAST_LENGTHS}"
        faults.append(Fault("prefill_s_per_token", f"{said} are needed: probe with a larger --max-input or budget"))
    alone = [job for cell in cells if cell.concurrency == 1 for job in cell.jobs if job.tpot_s]
    if len(alone) < 2:
        said = f"{len(alone)} answers of two tokens or more, one at a time; at least 2 are needed"
        faults.append(Fault("decode_step_s", f"{said}: probe with more --output-tokens"))
    if not any(cell.kind == "batch" and cell.concurrency > 1 for cell in cells):
        faults.append(Fault("decode_step_s", "nothing was measured together; probe with --max-concurrency 2 or more"))
    measured = max((cell.concurrency for cell in cells if cell.kind == "batch"), default=0)
    if max_batch is not None and max_batch < measured:
        faults.append(Fault("--max-batch", f"{max_batch} is less than {measured}, which was measured together"))
    if faults:
        raise ConfigError("calibrate", faults)


def _slots(cells: Sequence[FitCell], stated: int | None, measured: int) -> CountFact:
    """Slots of the server: stated, or seen where requests waited for the end of others."""
    if stated is not None:
        beyond = f"; beyond {measured} steps are extrapolated" if stated > measured else ""
        return CountFact(stated, stated, stated, 0, f"stated{beyond}")
    seen = [_slots_seen(cell) for cell in cells if cell.kind == "queue"]
    counts = Counter(slots for slots in seen if slots is not None)
    if not counts or len(seen) > 2 * counts.total():
        note = f"no queue was seen; at least {measured}, the largest concurrency measured: --max-batch states more"
        return CountFact(measured, measured, measured, 0, note)
    value = counts.most_common(1)[0][0]
    note = "requests beyond it waited" if value >= measured else f"requests beyond it waited; {measured} was measured"
    return CountFact(max(value, measured), min(counts), max(max(counts), measured), counts.total(), note)


def _slots_seen(cell: FitCell) -> int | None:
    """How many requests of a crowd had their first token before any of it had its last; None: all of them."""
    ends = [
        job.sent_s + job.ttft_s + (job.output_tokens - 1) * job.tpot_s for job in cell.jobs if job.tpot_s is not None
    ]
    if len(ends) < len(cell.jobs):
        return None
    served = sum(job.sent_s + job.ttft_s < min(ends) for job in cell.jobs)
    return None if served == len(cell.jobs) else served


def _coefficients(best: Fitted, points: int) -> dict[str, Measured]:
    return {
        name: _measured(value, error, points)
        for name, value, error in zip(COEFFICIENTS, best.values, best.errors_s, strict=False)
    }


def _steps(best: Fitted, cells: Sequence[FitCell]) -> tuple[tuple[int, Measured], ...]:
    start = len(COEFFICIENTS)
    pairs = zip(best.knots, best.values[start:], best.errors_s[start:], strict=True)
    return tuple(
        (knot, _measured(value, error, sum(cell.concurrency == knot for cell in cells))) for knot, value, error in pairs
    )


def _measured(value: float, error: float, n: int) -> Measured:
    return Measured(value, max(0.0, value - Z_80 * error), value + Z_80 * error, n)


def _chunk(best: Fitted, seen: tuple[int, ...], cells: Sequence[FitCell]) -> CountFact:
    if seen:
        return CountFact(best.chunk_tokens, min(seen), max(seen), len(seen), "stalls of other streams show it")
    longest = max(job.input_tokens for cell in cells for job in cell.jobs)
    note = f"no chunk was seen: prompts of up to {longest} tokens went through in one step"
    return CountFact(best.chunk_tokens, min(longest, best.chunk_tokens), best.chunk_tokens, 0, note)


def _held_out(cells: Sequence[FitCell], knots: Sequence[int], best: Fitted) -> tuple[list[float], list[float]]:
    """Errors on every fifth cell, of a fit without them. Cells that alone tell a step stay in."""
    ordered = sorted(cells, key=lambda cell: (cell.kind, cell.concurrency, cell.jobs[0].input_tokens))
    held = [cell for index, cell in enumerate(ordered) if index % HOLD_OUT == HOLD_OUT - 1]
    rest = [cell for index, cell in enumerate(ordered) if index % HOLD_OUT != HOLD_OUT - 1]
    left = {cell.concurrency for cell in rest if cell.kind in ("single", "batch")}
    if not held or left < set(knots):
        return [], []
    solved = solve(rest, knots, best.values, best.chunk_tokens, best.max_batch)
    return relative_errors(solved.curve(), held)


def _errors(values: Sequence[float]) -> ErrorFacts:
    ordered = sorted(values)
    return ErrorFacts(len(ordered), ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)])
