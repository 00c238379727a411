"""Section `gpu`: measured TPOT and TTFT of six Nvidia systems under three model servers against `perf.continuous`.

Judged three times on rows that the fit has not seen: a random half of each system and software, twins of one
measurement kept together (what published tools report); a whole model left out, every one in turn; a whole system left
out. The second is the claim that is made: a new model on known silicon.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headrace.bench.validation.gpu_fit import OVERLOAD_S, Array, Design, Fit, Index, fit, make_design, predict
from headrace.bench.validation.gpu_points import GpuPoint, gpu_points
from headrace.bench.validation.score import Row, Score, Section, Subject, scores

NAME = "gpu"
SEED = 0
HALF, MODEL, SYSTEM = "unseen half", "model left out", "system left out"
OUTPUT_NAMES = ("TPOT", "TTFT")


@dataclass(frozen=True, slots=True)
class Judged:
    """Predictions of points that the fit had not seen: logarithms and interval half-widths, (2, m)."""

    index: Index
    predicted: Array
    half_width: Array


def gpu_section(measured: Path) -> Section:
    """Scores of the unseen half and of models left out, TPOT and TTFT apart."""
    points = gpu_points(measured)
    design = make_design(points)
    whole = fit(design, np.arange(len(points)))
    judged = {HALF: unseen_half(points, design), MODEL: left_out(points, design, lambda point: point.keys.model)}
    rows = {output: _rows(points, design, judged, k) for k, output in enumerate(OUTPUT_NAMES)}
    return Section(
        name=NAME,
        about="TPOT and TTFT at a fixed concurrency, H100 to GB300, vLLM, SGLang and TensorRT-LLM",
        parameters=whole.free,
        points=len(points),
        scores=[score for output in OUTPUT_NAMES for score in _scores(rows[output], output)],
        rows=[row for output in OUTPUT_NAMES for row in rows[output]],
        notes=_notes(points, whole, rows),
    )


def unseen_half(points: Sequence[GpuPoint], design: Design, seed: int = SEED) -> Judged:
    """Fit a random half of each system and software; judge the other."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(points), dtype=bool)
    places = np.array([f"{point.keys.system}|{point.keys.software}" for point in points])
    twins = np.array([point.measurement for point in points])
    for place in np.unique(places):
        here = np.flatnonzero(places == place)
        measurements = np.unique(twins[here])
        rng.shuffle(measurements)
        chosen[here[np.isin(twins[here], measurements[: len(measurements) // 2])]] = True
    test = np.flatnonzero(~chosen)
    return Judged(test, *predict(design, test, fit(design, np.flatnonzero(chosen))))


def left_out(points: Sequence[GpuPoint], design: Design, of: Callable[[GpuPoint], str]) -> Judged:
    """Leave out every value of `of` in turn. Intervals are widened by what the other values would have needed."""
    values = np.array([of(point) for point in points])
    predicted, width = np.zeros((2, len(points))), np.zeros((2, len(points)))
    for value in np.unique(values):
        test = np.flatnonzero(values == value)
        found = fit(design, np.flatnonzero(values != value))
        predicted[:, test], width[:, test] = predict(design, test, found)
    missed = np.abs(design.measured - predicted) / width
    widened = width.copy()
    for value in np.unique(values):
        here, others = values == value, values != value
        for output in range(2):
            judged = others & (design.weight[output] == 1.0)
            widened[output, here] *= _quantile_by_value(missed[output][judged], values[judged])
    return Judged(np.arange(len(points)), predicted, widened)


def _quantile_by_value(missed: Array, values: Array, q: float = 0.8) -> float:
    """The quantile of all, a value with many points counting for more than one with few by its root only."""
    weight = np.zeros(len(missed))
    for value in np.unique(values):
        here = values == value
        weight[here] = here.sum() ** -0.5
    order = np.argsort(missed)
    total = np.cumsum(weight[order])
    return float(missed[order][np.searchsorted(total, q * total[-1])])


def _rows(points: Sequence[GpuPoint], design: Design, judged: dict[str, Judged], output: int) -> list[Row]:
    rows = []
    for how, found in judged.items():
        for place, k in enumerate(found.index.tolist()):
            if output == 1 and points[k].ttft_s >= OVERLOAD_S:
                continue
            log_value, width = found.predicted[output, place], found.half_width[output, place]
            value, low, high = np.exp([log_value, log_value - width, log_value + width])
            measured = float(np.exp(design.measured[output, k]))
            group = points[k].keys.system if how == HALF else points[k].keys.model
            name, subject = points[k].deployment.name, _subject(points[k], OUTPUT_NAMES[output])
            rows.append(Row(group, name, how, float(value), measured, float(low), float(high), subject))
    return rows


def _subject(point: GpuPoint, quantity: str) -> Subject:
    """What a point measured; of a disaggregated one, the chips of one decode replica."""
    place, load = point.deployment, point.load
    kind = "chips" if point.split is None else "chips a decode replica"
    lengths = f"{load.input_tokens:,} in, {load.output_tokens:,} out, concurrency {load.concurrency:,.0f}"
    return Subject(
        quantity, point.keys.system, place.model.name, point.keys.software, f"{place.count} {kind}, {lengths}"
    )


def _scores(rows: Sequence[Row], output: str) -> list[Score]:
    named = [replace(row, group=f"{output} {row.group}") for row in rows]
    return scores(named, f"{output} all")


def _notes(points: Sequence[GpuPoint], whole: Fit, rows: dict[str, list[Row]]) -> list[str]:
    notes = [
        f"free parameters {whole.free}, of which the data moved about {whole.effective:.0f}; {len(points)} points, "
        f"{len({point.measurement for point in points})} distinct measurements",
        f"{sum(point.imputed > 0 for point in points)} disaggregated points do not say their layout: it is imputed",
        f"TTFT is judged below {OVERLOAD_S:.0f} s: beyond, the server's limits lie below the offered load",
        "repeats of one measurement differ by 9.4 % (TPOT) and 12.0 % (TTFT): nothing can be closer than that",
    ]
    for output, of in rows.items():
        for how in (HALF, MODEL):
            errors = [abs(row.error) for row in of if row.judged == how]
            notes.append(f"{output}, {how}: median {np.median(errors):.1%}, mean {np.mean(errors):.1%}")
    return notes
