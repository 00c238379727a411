"""Fitting a batching model server to a probe.

The simulated model server *is* the model: a cell of the probe is run through `modelserver.BatchingServer` with its real
send times and lengths, and the coefficients are those with which its TTFTs and TPOTs come closest to the measured ones.
So what the fit explains (steps that mix prefill and decode, prompts that wait for one another, slots that run out) is
what `simulate` will use, and nothing is fitted that the simulator could not express.

Least squares on the log of measured / simulated, made robust by Huber's weights (a machine that was busy for a second
must not decide), by Levenberg-Marquardt steps on numerical derivatives; coefficients stay at or above 0. Intervals are
80 %, from the covariance at the optimum. `chunk_tokens` is read off the stalls that an injected prompt causes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from statistics import median
from typing import TYPE_CHECKING, Any

from headrace.fleet import KvCache
from headrace.modelserver import BatchingServer, Job, Milestone, ModelServer, PagedServer, Report
from headrace.perf import Serving, SpeedCurve, steps_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[Any]

COEFFICIENTS = (
    "ttft_overhead_s",
    "prefill_fixed_s",
    "prefill_s_per_token",
    "prefill_s_per_token_squared",
    "kv_s_per_token",
)
CROWDS = ("batch", "queue")  # kinds whose requests are sent at once
HUBER = 1.345  # 95 % efficiency on normal errors
Z_80 = 1.2816  # a normal quantile: 80 % lie within this many standard deviations
TTFT_GRAIN_S = 0.001  # what a clock, a scheduler and a network add at random
STEPS = 25
WHOLE = 0.6  # a stall with this part of a prompt, or more, is taken for the whole of it
NUDGE = 0.02  # of a coefficient's scale, for derivatives
RIDGE = 1e-4


@dataclass(frozen=True, slots=True)
class FitJob:
    """One measured request: seconds after its cell's first send, tokens, and what was measured.

    Attributes:
        stall_s: the longest gap in its stream.
    """

    sent_s: float
    input_tokens: int
    output_tokens: int
    ttft_s: float
    tpot_s: float | None
    stall_s: float | None = None


@dataclass(frozen=True, slots=True)
class FitCell:
    """Requests that were on the server together, in order of their sends."""

    kind: str
    concurrency: int
    jobs: tuple[FitJob, ...]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A solution: seconds, in the order of `COEFFICIENTS`, then one step per batch of `knots`; with standard errors."""

    knots: tuple[int, ...]
    values: tuple[float, ...]
    errors_s: tuple[float, ...]
    loss: float
    chunk_tokens: int
    max_batch: int

    def curve(self) -> SpeedCurve:
        """The speed curve of this solution."""
        return curve_of(self.values, self.knots, self.chunk_tokens, self.max_batch)


def curve_of(values: Sequence[float], knots: Sequence[int], chunk_tokens: int, max_batch: int) -> SpeedCurve:
    """A batching curve with these coefficients (see `Fitted`)."""
    lag_s, sequence_s, linear, squared, kv_s = values[: len(COEFFICIENTS)]
    steps = list(zip(knots, values[len(COEFFICIENTS) :], strict=True))
    return SpeedCurve(
        serving=Serving.BATCHING,
        ttft_overhead_s=lag_s,
        prefill_s_per_token=linear,
        prefill_s_per_token_squared=squared,
        step_s=steps_between(steps, max_batch),
        kv_s_per_token=kv_s,
        max_batch=max_batch,
        chunk_tokens=chunk_tokens,
        depth=1,
        kv_capacity_tokens=None,
        power_w=None,
        prefill_fixed_s=sequence_s,
    )


def simulate_cell(
    curve: SpeedCurve, cell: FitCell, kv_cache: KvCache | None = None
) -> list[tuple[float, float | None]]:
    """(TTFT, TPOT) of every request of a cell on an idle server of this speed; None: it reserves whole contexts."""
    server: ModelServer = BatchingServer(curve) if kv_cache is None else PagedServer(curve, kv_cache)
    reports: list[Report] = []
    for number, job in enumerate(cell.jobs):
        reports += server.advance(job.sent_s)
        server.submit(job.sent_s, Job(number, job.input_tokens, job.output_tokens))
    while (next_s := server.next_s()) is not None:
        reports += server.advance(next_s)
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for report in reports:
        (first if report.milestone is Milestone.FIRST_TOKEN else last)[report.job_id] = report.at_s
    return [
        (
            first[number] - job.sent_s,
            None if job.output_tokens < 2 else (last[number] - first[number]) / (job.output_tokens - 1),
        )
        for number, job in enumerate(cell.jobs)
    ]


def compared(curve: SpeedCurve, cell: FitCell) -> list[tuple[FitJob, float, float | None]]:
    """The requests of a cell that are compared, each with its simulated TTFT and TPOT.

    Of requests that were sent at once, only the one that began last: which of them a server takes first, and how many
    it takes into its first step, is a race of microseconds; when all prompts are through, and how fast all decode
    together, is not.
    """
    simulated = simulate_cell(curve, cell)
    if cell.kind not in CROWDS or cell.concurrency == 1:
        return [(job, *pair) for job, pair in zip(cell.jobs, simulated, strict=True)]
    last = max(cell.jobs, key=lambda job: job.sent_s + job.ttft_s)
    return [(last, *max(simulated, key=lambda pair: pair[0]))]


def relative_errors(curve: SpeedCurve, cells: Sequence[FitCell]) -> tuple[list[float], list[float]]:
    """|simulated / measured - 1| of every TTFT and of every TPOT that is compared."""
    ttft: list[float] = []
    tpot: list[float] = []
    for cell in cells:
        for job, ttft_s, tpot_s in compared(curve, cell):
            ttft.append(abs(ttft_s / job.ttft_s - 1.0))
            if job.tpot_s and tpot_s is not None:
                tpot.append(abs(tpot_s / job.tpot_s - 1.0))
    return ttft, tpot


def fit(cells: Sequence[FitCell], knots: Sequence[int], max_batch: int) -> tuple[Fitted, tuple[int, ...]]:
    """The best solution, and the chunk sizes that stalls of other streams show; none where whole prompts went through.

    Args:
        knots: batches whose step is a coefficient of its own.
        max_batch: slots of the server.
    """
    largest = 1 << (max(sum(job.input_tokens for job in cell.jobs) for cell in cells) - 1).bit_length()
    best = solve(cells, knots, _start(cells, knots), largest, max_batch)
    chunks = _chunks_seen(best, cells)
    if chunks:
        best = solve(cells, knots, best.values, round(median(chunks)), max_batch)
        chunks = _chunks_seen(best, cells) or chunks
        best = solve(cells, knots, best.values, round(median(chunks)), max_batch)
    return best, chunks


def _chunks_seen(found: Fitted, cells: Sequence[FitCell]) -> tuple[int, ...]:
    """Input tokens that went through in the longest stall of another's stream; none where that is most of the prompt.

    A prompt of T tokens that comes while a stream is under way stops it for one step with all T tokens, or for many
    steps with a chunk each: the longest gap says which.
    """
    curve = found.curve()
    chunks, wholes = [], 0
    for cell in cells:
        if cell.kind == "inject" and cell.jobs[0].stall_s is not None:
            prompt_tokens = cell.jobs[1].input_tokens
            work_s = cell.jobs[0].stall_s - curve.tpot_s(1, cell.jobs[0].input_tokens)
            tokens = work_s / curve.prefill_s_per_token
            wholes += tokens > WHOLE * prompt_tokens
            chunks.append(max(1, round(min(tokens, prompt_tokens))))
    return () if not chunks or 2 * wholes >= len(chunks) else tuple(sorted(chunks))


def _start(cells: Sequence[FitCell], knots: Sequence[int]) -> tuple[float, ...]:
    """A first guess: a line through the TTFTs of single requests, and medians of TPOTs by concurrency."""
    singles = sorted((cell.jobs[0].input_tokens, cell.jobs[0].ttft_s) for cell in cells if cell.kind == "single")
    (short, short_s), (long, long_s) = singles[0], singles[-1]
    per_token = max((long_s - short_s) / max(long - short, 1), 1e-9)
    fixed_s = max(short_s - per_token * short, 0.1 * short_s)
    by_batch: dict[int, list[float]] = {}
    for cell in cells:
        if cell.kind in ("single", "batch"):
            by_batch.setdefault(cell.concurrency, []).extend(job.tpot_s for job in cell.jobs if job.tpot_s)
    steps = [min(by_batch[knot]) for knot in knots]
    return (fixed_s / 2, fixed_s / 2, per_token, 0.02 * per_token / long, 0.05 * steps[0] / long, *steps)


def _residuals(curve: SpeedCurve, cells: Sequence[FitCell]) -> Vector:
    import numpy as np

    found = []
    for cell in cells:
        for job, ttft_s, tpot_s in compared(curve, cell):
            found.append(log((job.ttft_s + TTFT_GRAIN_S) / (ttft_s + TTFT_GRAIN_S)))
            if job.tpot_s and tpot_s:
                found.append(log(job.tpot_s / tpot_s))
    return np.array(found)


def _spread(residuals: Vector) -> float:
    """A standard deviation that outliers do not move, at least 0.1 %."""
    return max(1e-3, 1.4826 * float(median(abs(residuals))))


def _loss(residuals: Vector, spread: float) -> float:
    """Huber's, per residual, in squared units of what is measured."""
    import numpy as np

    size, bend = np.abs(residuals), HUBER * spread
    return float(np.mean(np.where(size <= bend, 0.5 * size**2, bend * (size - 0.5 * bend))))


def solve(cells: Sequence[FitCell], knots: Sequence[int], start: Sequence[float], chunk: int, max_batch: int) -> Fitted:
    """Levenberg-Marquardt from `start`, on coefficients that are at least 0."""
    import numpy as np

    def residuals_of(values: Vector) -> Vector:
        return _residuals(curve_of([float(value) for value in values], knots, chunk, max_batch), cells)

    values = np.array(start, dtype=float)
    scale = _scales(cells, values)
    residuals = residuals_of(values)
    damping = 1e-2
    for _ in range(STEPS):
        spread = _spread(residuals)
        jacobian = _jacobian(residuals_of, values, scale, residuals)
        weights = np.minimum(1.0, HUBER * spread / np.maximum(np.abs(residuals), 1e-12))
        moved = _step(jacobian, weights, residuals, values, scale, damping)
        tried = residuals_of(moved)
        if _loss(tried, spread) < _loss(residuals, spread):
            done = bool(np.max(np.abs(moved - values) / scale) < 1e-4)
            values, residuals, damping = moved, tried, damping / 3.0
            if done:
                break
        else:
            damping *= 4.0
            if damping > 1e6:
                break
    errors_s = _standard_errors(_jacobian(residuals_of, values, scale, residuals), residuals, scale)
    loss = _loss(residuals, _spread(residuals))
    found = tuple(float(value) for value in values)
    return Fitted(tuple(knots), found, tuple(float(error) for error in errors_s), loss, chunk, max_batch)


def _scales(cells: Sequence[FitCell], values: Vector) -> Vector:
    """What counts as a change of each coefficient: itself, but for those that may well be 0."""
    import numpy as np

    longest = max(job.input_tokens for cell in cells for job in cell.jobs)
    shortest_s = min(job.ttft_s for cell in cells for job in cell.jobs)
    scale = np.array(values)
    scale[0] = scale[1] = max(0.2 * shortest_s, 1e-6)
    scale[3] = 0.2 * values[2] / longest
    scale[4] = 0.2 * values[5] / longest
    return scale


def _jacobian(residuals_of: Callable[[Vector], Vector], values: Vector, scale: Vector, residuals: Vector) -> Vector:
    import numpy as np

    columns = []
    for index in range(len(values)):
        nudged = values.copy()
        nudged[index] += NUDGE * scale[index]
        columns.append((residuals_of(nudged) - residuals) / NUDGE)
    return np.column_stack(columns)


def _step(
    jacobian: Vector, weights: Vector, residuals: Vector, values: Vector, scale: Vector, damping: float
) -> Vector:
    """One damped step; a coefficient at 0 that would fall stays there."""
    import numpy as np

    gradient = jacobian.T @ (weights * residuals)
    free = ~((values <= 0.0) & (gradient > 0.0))
    part = jacobian[:, free]
    normal = part.T @ (weights[:, None] * part)
    normal += np.diag(damping * np.diag(normal) + RIDGE)
    moved = values.copy()
    moved[free] -= scale[free] * np.linalg.solve(normal, gradient[free])
    return np.maximum(moved, 0.0)


def _standard_errors(jacobian: Vector, residuals: Vector, scale: Vector) -> Vector:
    import numpy as np

    normal = jacobian.T @ jacobian + RIDGE * np.eye(len(scale))
    freedom = max(1, len(residuals) - len(scale))
    spread = _spread(residuals) * (len(residuals) / freedom) ** 0.5
    errors: Vector = scale * spread * np.sqrt(np.diag(np.linalg.inv(normal)))
    return errors
