"""Section `requests`: recorded runs of vLLM, request by request, against the production model server.

The other sections judge what a step takes; this one judges what a queue makes of it. Each run's recorded arrivals and
lengths go through `modelserver.BatchingServer`, the object that simulator and emulator drive, and every request's TTFT
and TPOT is held against the recorded one. The rule it protects: nothing but the server decides who waits.

No chip of these runs is in the catalog and three runs are too few to share a law, so each run calibrates a speed curve
of its own. The fit sees the requests of the first half of the arrivals (by time), the second half is judged. All
arrivals are played in both: a request's speed depends on those that come after it. A decode step of B sequences with K
context tokens takes

    step_fixed_s + experts_s * (1 - (1 - k/E)^(B^skew)) + sequence_s * B + kv_s_per_token * K

the middle term for a model that routes each token to k of E experts (as in `perf.continuous.step`), with a prefill and
the overhead of a first token as in `perf.SpeedCurve`. Starts are read off the fitted half, priors are wide.

What the record says of the server's settings goes before what its columns say: as many slots as ran at once, and where
requests queued beside free slots, KV room was short. How much there is, the fitted half says: what running requests
held, input and what they had produced, whenever a queued one was let in (the median of it; counted as one more
parameter; a request produces evenly from its first token to its end). There the model server does what the recorded one
did: it hands out blocks as they are needed, and computes the request that came last again when they run out
(`KvPolicy.GROW`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean, median, quantiles

from headrace.bench.fit import FitCell, FitJob, simulate_cell
from headrace.bench.validation.fitting import Parameter, Values, fit_log
from headrace.bench.validation.score import Row, Section, Subject, scores
from headrace.bench.validation.tables import read_table
from headrace.fleet import KvCache, KvPolicy, Model, catalog
from headrace.perf import Serving, SpeedCurve

NAME = "requests"
FILE = "vllm_request_level.csv"
SOFTWARE = "vllm"
JUDGED, WHOLE = "second half", "second half, run"
ROUNDING_S = 0.001  # the record's times are rounded: a request that starts within it of another's end took its slot
QUEUED_S = 0.5  # a wait longer than the next few steps: the server was full
TTFT_GRAIN_S = 1.0  # added to both TTFTs in the fit: what moves a mean is seconds in the queue, not a step more or less
TPOT_WEIGHT = 6.0  # a TPOT is a mean over hundreds of steps: it is worth more than a TTFT
NUDGES = (0.1, 0.05, 0.02)  # of a coefficient, for derivatives: who is admitted first changes in jumps
SPREAD, SKEW_SPREAD = 0.7, 0.3  # of the priors, standard deviation of the logarithm
EXPONENT = "exponent"
RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run of the record.

    Attributes:
        jobs: its requests, by arrival; seconds since the first.
        kv_room_tokens: context tokens that running requests can hold, as the first half shows; None where slots, not
            KV room, kept requests waiting, or none waited.
    """

    system: str
    model: Model
    chips: int
    max_batch: int
    chunk_tokens: int
    kv_room_tokens: int | None
    jobs: tuple[FitJob, ...]

    @property
    def name(self) -> str:
        """What the run is, for people."""
        return f"{self.system} {self.model.name}"

    @property
    def seen(self) -> int:
        """Requests that the fit sees: those that arrived in the first half of the time; they come first in `jobs`."""
        return _first_half([job.sent_s for job in self.jobs])


def recorded_runs(rows: Iterable[Mapping[str, str]]) -> list[RecordedRun]:
    """The runs of a table with a row per request, in its order."""
    return [_run(list(of)) for _, of in groupby(rows, key=lambda row: (row["system"], row["model"], row["tp"]))]


def parameters_of(run: RecordedRun) -> tuple[Parameter, ...]:
    """The coefficients that are fitted for a run, with starts from what its first half shows."""
    fitted = run.jobs[: run.seen]
    tpots = sorted(job.tpot_s for job in fitted if job.tpot_s)
    fast_s, usual_s = tpots[len(tpots) // 20], median(tpots)
    batch = min(run.max_batch, run.seen)
    context = batch * mean(job.input_tokens + job.output_tokens / 2.0 for job in fitted)
    tokens = mean(job.input_tokens for job in fitted)
    starts = [
        ("ttft_overhead_s", 0.5 * min(job.ttft_s for job in fitted), "s"),
        ("prefill_fixed_s", 0.2 * usual_s, "s per prefill"),
        ("prefill_s_per_token", usual_s / tokens, "s per input token"),
        ("step_fixed_s", 0.6 * fast_s, "s per step"),
        ("sequence_s", 0.2 * usual_s / batch, "s per sequence and step"),
        ("kv_s_per_token", 0.2 * usual_s / context, "s per context token and step"),
    ]
    if run.model.experts > 1:
        starts += [("experts_s", 0.3 * usual_s, "s per step that touches all experts"), ("skew", 0.6, EXPONENT)]
    return tuple(_parameter(run, *start) for start in starts)


def free_parameters(run: RecordedRun) -> int:
    """How many numbers are taken from the first half: the fitted ones, and the KV room where it is read off."""
    return len(parameters_of(run)) + (run.kv_room_tokens is not None)


def curve_of(run: RecordedRun, values: Mapping[str, float]) -> SpeedCurve:
    """The speed curve with these coefficients."""
    return SpeedCurve(
        serving=Serving.BATCHING,
        ttft_overhead_s=values["ttft_overhead_s"],
        prefill_s_per_token=values["prefill_s_per_token"],
        prefill_s_per_token_squared=0.0,
        step_s=tuple(_step_s(run.model, values, batch) for batch in range(run.max_batch + 1)),
        kv_s_per_token=values["kv_s_per_token"],
        max_batch=run.max_batch,
        chunk_tokens=run.chunk_tokens,
        depth=1,
        kv_capacity_tokens=run.kv_room_tokens,
        power_w=None,
        prefill_fixed_s=values["prefill_fixed_s"],
    )


def replayed(run: RecordedRun, curve: SpeedCurve) -> list[tuple[float, float]]:
    """(TTFT, TPOT) in seconds of every request on a server of this speed, fed with the recorded arrivals."""
    cell = FitCell(RECORDED, run.max_batch, run.jobs)
    kv_cache = None if run.kv_room_tokens is None else KvCache(KvPolicy.GROW)
    return [(ttft_s, tpot_s or 0.0) for ttft_s, tpot_s in simulate_cell(curve, cell, kv_cache)]


def fit_run(run: RecordedRun) -> dict[str, float]:
    """The coefficients under which the first half of the arrivals comes out best."""
    seen, parameters = run.seen, parameters_of(run)
    fitted = run.jobs[:seen]

    def predict(values: Values) -> list[float]:
        found = replayed(run, curve_of(run, _named(values, parameters)))[:seen]
        return [ttft_s + TTFT_GRAIN_S for ttft_s, _ in found] + [tpot_s for _, tpot_s in found]

    measured = [job.ttft_s + TTFT_GRAIN_S for job in fitted] + [job.tpot_s or 0.0 for job in fitted]
    weights = [1.0] * seen + [TPOT_WEIGHT] * seen
    return _named(fit_log(predict, measured, weights, parameters, nudges=NUDGES), parameters)


def requests_section(measured: Path) -> Section:
    """Every run, fitted on the first half of its arrivals and judged on the second."""
    return section_of(recorded_runs(read_table(measured / FILE)))


def section_of(runs: Sequence[RecordedRun]) -> Section:
    """The section of these runs."""
    figures, requests, notes = [], [], []
    for run in runs:
        values = fit_run(run)
        found = replayed(run, curve_of(run, values))
        of_run = _figures(run, found)
        figures += of_run
        requests += _requests(run, found)
        errors = ", ".join(f"{row.label} {row.error:+.1%}" for row in of_run)
        judged = len(run.jobs) - run.seen
        notes.append(f"{run.name}: n {judged}, {errors}; {free_parameters(run)} parameters, {run.seen} fitted")
    return Section(
        NAME,
        "queueing: TTFT and TPOT of recorded requests, replayed through the model server",
        parameters=sum(free_parameters(run) for run in runs),
        points=sum(run.seen for run in runs),
        scores=[*scores(figures), *scores(requests, overall=None)],
        rows=[*figures, *requests],
        notes=notes,
    )


def _figures(run: RecordedRun, found: Sequence[tuple[float, float]]) -> list[Row]:
    """Mean and p90 of TTFT, and mean TPOT, of the judged requests."""
    ttft = [pair[0] for pair in found[run.seen :]], [job.ttft_s for job in run.jobs[run.seen :]]
    tpot = [pair[1] for pair in found[run.seen :]], [job.tpot_s or 0.0 for job in run.jobs[run.seen :]]
    return [
        Row(run.name, "TTFT mean", WHOLE, mean(ttft[0]), mean(ttft[1])),
        Row(run.name, "TTFT p90", WHOLE, _p90(ttft[0]), _p90(ttft[1])),
        Row(run.name, "TPOT mean", WHOLE, mean(tpot[0]), mean(tpot[1])),
    ]


def _requests(run: RecordedRun, found: Sequence[tuple[float, float]]) -> list[Row]:
    rows = []
    for k, quantity in enumerate(("TTFT", "TPOT")):
        for job, pair in zip(run.jobs[run.seen :], found[run.seen :], strict=True):
            measured = (job.ttft_s, job.tpot_s or 0.0)[k]
            load = f"{job.input_tokens:,} in, {job.output_tokens:,} out, arrived at {job.sent_s:.1f} s"
            subject = Subject(quantity, run.system, run.model.name, SOFTWARE, load)
            rows.append(Row(f"{quantity} {run.name}", load, JUDGED, pair[k], measured, subject=subject))
    return rows


def _p90(values: Sequence[float]) -> float:
    return quantiles(values, n=10, method="inclusive")[-1]


def _step_s(model: Model, values: Mapping[str, float], batch: int) -> float:
    touched = 1.0 - (1.0 - model.active_experts / model.experts) ** (batch ** values.get("skew", 1.0))
    experts_s = values.get("experts_s", 0.0) * touched if batch else 0.0
    return values["step_fixed_s"] + experts_s + values["sequence_s"] * batch


def _parameter(run: RecordedRun, name: str, start: float, unit: str) -> Parameter:
    """One coefficient, free over a factor of a thousand both ways; an exponent ends at 1."""
    high, spread = (1.0, SKEW_SPREAD) if unit == EXPONENT else (1e3 * start, SPREAD)
    return Parameter((run.name,), name, start, 1e-3 * start, high, spread, unit)


def _named(values: Values, parameters: Sequence[Parameter]) -> dict[str, float]:
    return {parameter.name: values[parameter.key] for parameter in parameters}


def _run(rows: Sequence[Mapping[str, str]]) -> RecordedRun:
    rows = sorted(rows, key=lambda row: float(row["arrival_s"]))
    head, stays = rows[0], [_stay(row) for row in rows]
    slots, running = int(head["max_num_seqs"]), max(_running(stays, stay.start_s) for stay in stays)
    fitted = stays[: _first_half([stay.arrival_s for stay in stays])]
    queued = [stay for stay in fitted if stay.start_s - stay.arrival_s > QUEUED_S]
    room = median(_held(stays, stay.start_s) for stay in queued) if queued and running < slots else None
    return RecordedRun(
        system=head["system"],
        model=catalog.find_model(head["model"]),
        chips=int(head["tp"]),
        max_batch=max(slots, running),
        chunk_tokens=int(head["max_batched_tokens"]),
        kv_room_tokens=None if room is None else round(room),
        jobs=tuple(_job(row) for row in rows),
    )


@dataclass(frozen=True, slots=True)
class _Stay:
    """When a request came, began, had its first token and ended; and its tokens."""

    arrival_s: float
    start_s: float
    first_token_s: float
    end_s: float
    input_tokens: int
    output_tokens: int

    def held(self, at_s: float) -> float:
        """Context tokens that it holds, if it produces evenly."""
        if not self.start_s <= at_s < self.end_s:
            return 0.0
        produced = max(at_s - self.first_token_s, 0.0) / max(self.end_s - self.first_token_s, ROUNDING_S)
        return self.input_tokens + self.output_tokens * min(produced, 1.0)


def _stay(row: Mapping[str, str]) -> _Stay:
    arrival_s = float(row["arrival_s"])
    start_s, first_s, end_s = (arrival_s + float(row[name]) for name in ("queue_s", "ttft_s", "e2e_s"))
    return _Stay(arrival_s, start_s, first_s, end_s - ROUNDING_S, int(row["isl"]), int(row["osl"]))


def _running(stays: Sequence[_Stay], at_s: float) -> int:
    return sum(stay.start_s <= at_s < stay.end_s for stay in stays)


def _held(stays: Sequence[_Stay], at_s: float) -> float:
    return sum(stay.held(at_s) for stay in stays)


def _first_half(arrivals_s: Sequence[float]) -> int:
    """How many of these, in order, came before the middle of their time."""
    middle_s = (arrivals_s[0] + arrivals_s[-1]) / 2.0
    return sum(arrival_s < middle_s for arrival_s in arrivals_s)


def _job(row: Mapping[str, str]) -> FitJob:
    tpot_s = float(row["tpot_ms"]) / 1000.0
    return FitJob(float(row["arrival_s"]), int(row["isl"]), int(row["osl"]), float(row["ttft_s"]), tpot_s)
