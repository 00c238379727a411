"""Section `neuron`: measured decode times of Inferentia2, Trainium1 and Trainium2 against `perf.neuron`.

Judged twice on rows that the fit has not seen: a whole architecture left out, every one in turn (models of one shape
together, whatever their name), and a random half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headrace.bench.validation.fitting import (
    Parameter,
    Values,
    as_rows,
    fit_log,
    leave_out,
    parameter_key,
    quantile_interval,
    random_halves,
    resample,
)
from headrace.bench.validation.neuron_points import NeuronPoint, neuron_points
from headrace.bench.validation.score import Row, Score, Section, Subject, scores
from headrace.fleet import catalog
from headrace.perf.coefficients import Coefficient, coefficient
from headrace.perf.neuron import Draft, NeuronLaw, prefill_s, speculative_s, step_s

NAME = "neuron"
OLD, NEW = ("Inferentia2", "Trainium1"), ("Trainium2",)
ALL = (*OLD, *NEW)
SOURCE = (
    "headrace validate --only neuron, fitted on aws_neuron_points.csv, optimum_neuron_vllm.csv and two rows of "
    "published_speeds.csv"
)
DATE = "2026-11"
DRAWS = 25
SPLITS = 5
TTFT_WEIGHT = 0.5
LEFT_OUT = "architecture left out"
LEFT_OUT_TTFT = "TTFT, architecture left out"

PARAMETERS = (
    Parameter(OLD, "memory_efficiency", 0.62, 0.2, 1.0, 0.3, "fraction of peak bandwidth"),
    Parameter(NEW, "memory_efficiency", 0.75, 0.2, 1.0, 0.3, "fraction of peak bandwidth"),
    Parameter(ALL, "kv_memory_efficiency", 0.25, 0.03, 1.0, 1.0, "fraction of a core's part of peak bandwidth"),
    Parameter(OLD, "layer_s", 7e-5, 5e-6, 5e-4, 1.0, "s per layer and step"),
    Parameter(NEW, "layer_s", 4e-5, 5e-6, 5e-4, 1.0, "s per layer and step"),
    Parameter(ALL, "core_hop_s", 1e-5, 1e-8, 2e-5, 1.0, "s per layer, step and doubling of the cores"),
    Parameter(ALL, "expert_s", 7e-6, 1e-7, 1e-4, 1.0, "s per expert applied to a token, and layer"),
    Parameter(
        ALL, "host_sampling_s", 7e-4, 1e-5, 1e-2, 1.0, "s per slot and step where logits are sampled on the host"
    ),
    Parameter(OLD, "prefill_compute_efficiency", 0.15, 0.01, 1.0, 0.7, "fraction of peak FLOP/s"),
    Parameter(NEW, "prefill_compute_efficiency", 0.25, 0.01, 1.0, 0.7, "fraction of peak FLOP/s"),
    Parameter(ALL, "expert_prefill_s", 5e-5, 1e-6, 1e-2, 1.0, "s per expert, layer and prefill, times 1 + log2(cores)"),
    Parameter(NEW, "acceptance", 0.75, 0.4, 0.99, 0.15, "chance that a drafted token is accepted"),
)
LAW = tuple(dict.fromkeys(each.name for each in PARAMETERS if each.name != "acceptance"))


def predicted_tpot_s(point: NeuronPoint, values: Values) -> float:
    """Seconds per output token: a step, or its part with a draft, and the prefills that stop it.

    vLLM on Neuron runs no prefill beside a step: in the time of one answer, every other request in flight has one.
    """
    law = _law(point.chip, values)
    if point.speculation:
        return speculative_s(point.shape, law, _draft(point.chip, values))
    stall_s = 0.0
    if point.prefill_stops:
        stall_s = point.active / point.output_tokens * prefill_s(point.shape, law, point.input_tokens)
    return step_s(point.shape, law) + stall_s


def predicted_ttft_s(point: NeuronPoint, values: Values) -> float:
    """Seconds to the first token of a request alone: its prefill."""
    return prefill_s(point.shape, _law(point.chip, values), point.input_tokens)


def fit_points(points: Sequence[NeuronPoint]) -> dict[str, float]:
    """Coefficients under which the points' TPOT, and the TTFT of lone requests, come out best."""
    alone = [point for point in points if point.ttft_s is not None]
    kinds = [(point.shape.model.name, point.software) for point in points]
    return fit_log(
        lambda values: (
            [predicted_tpot_s(each, values) for each in points] + [predicted_ttft_s(each, values) for each in alone]
        ),
        [point.tpot_s for point in points] + [point.ttft_s for point in alone if point.ttft_s is not None],
        [kinds.count(kind) ** -0.5 for kind in kinds] + [TTFT_WEIGHT] * len(alone),
        PARAMETERS,
    )


def fitted_coefficients(measured: Path, draws: int = DRAWS) -> list[Coefficient]:
    """The rows of the coefficient table that this section fits, intervals included if there are `draws`."""
    points = neuron_points(measured)
    names = [point.shape.model.name for point in points]
    intervals = resample(names, lambda chosen: fit_points([points[i] for i in chosen]), draws) if draws else {}
    return as_rows(fit_points(points), intervals, PARAMETERS, len(points), SOURCE, DATE)


def speed_factor(rows: Sequence[Row]) -> tuple[float, float]:
    """Measured over predicted speed of left-out rows: the middle 80 %."""
    return quantile_interval([row.predicted / row.measured for row in rows if row.judged == LEFT_OUT])


def neuron_section(measured: Path) -> Section:
    """Every point in sample, with its architecture left out, and in random halves."""
    points = neuron_points(measured)
    values = fit_points(points)
    held = leave_out(
        [point.architecture for point in points],
        lambda chosen: fit_points([points[index] for index in chosen]),
        lambda index, found: (predicted_tpot_s(points[index], found), predicted_ttft_s(points[index], found)),
    )
    rows = [_row(point, "in sample", predicted_tpot_s(point, values)) for point in points]
    rows += [_row(point, LEFT_OUT, tpot_s) for point, (tpot_s, _) in zip(points, held, strict=True)]
    for train, test in random_halves(len(points), SPLITS):
        found = fit_points([points[index] for index in train])
        rows += [_row(points[index], "random half", predicted_tpot_s(points[index], found)) for index in test]
    rows += [_ttft_row(point, ttft_s) for point, (_, ttft_s) in zip(points, held, strict=True) if point.ttft_s]
    return Section(
        NAME,
        "measured time per output token (and to the first token of a lone request), s",
        parameters=len(PARAMETERS),
        points=len(points),
        scores=[*scores(rows), *_mixtures(points, rows)],
        rows=rows,
        notes=[
            f"{len({point.architecture for point in points})} architectures; a random half holds near-repeats of the "
            "other (the same set-up on another day): trust the architecture left out",
            "the smallest KV bucket, 4,096 tokens, was chosen by error and not read in a source",
        ],
    )


def _mixtures(points: Sequence[NeuronPoint], rows: Sequence[Row]) -> list[Score]:
    moe = {point.label for point in points if point.shape.model.experts > 1}
    return scores([row for row in rows if row.label in moe and row.judged == LEFT_OUT], "experts")[:1]


def _row(point: NeuronPoint, judged: str, tpot_s: float) -> Row:
    factor = coefficient(catalog.accelerator(point.chip), "speed_factor")
    low, high = tpot_s / factor.high, tpot_s / factor.low
    return Row(point.chip, point.label, judged, tpot_s, point.tpot_s, low, high, _subject(point, "TPOT"))


def _ttft_row(point: NeuronPoint, ttft_s: float) -> Row:
    return replace(_row(point, LEFT_OUT_TTFT, ttft_s), measured=point.ttft_s or 0.0, subject=_subject(point, "TTFT"))


def _subject(point: NeuronPoint, quantity: str) -> Subject:
    shape = point.shape
    load = f"{shape.cores} cores, {shape.slots} slots, {point.input_tokens:,.0f} in, {point.output_tokens:,.0f} out"
    return Subject(quantity, point.chip, shape.model.name, point.software, load)


def _law(chip: str, values: Values) -> NeuronLaw:
    return NeuronLaw(**{name: values[_key(chip, name)] for name in LAW})


def _draft(chip: str, values: Values) -> Draft:
    row = catalog.accelerator(chip)
    parameters, layers, tokens = (
        coefficient(row, name).value for name in ("draft_parameters", "draft_layers", "draft_tokens")
    )
    return Draft(values[_key(chip, "acceptance")], parameters, layers, tokens)


def _key(chip: str, name: str) -> str:
    """The key of the parameter that fills this chip's row: the first of the chips that share it."""
    owner = next(each.accelerators[0] for each in PARAMETERS if each.name == name and chip in each.accelerators)
    return parameter_key(owner, name)
