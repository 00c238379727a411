"""Section `sram`: published per-user speeds of Cerebras, Groq and SambaNova against `perf.dataflow` and `perf.rdu`.

The rows ship with the package (`data/published_speeds.csv`), so this section needs no data folder. Each vendor's law is
fitted alone. Rows judged `left out` were predicted by a fit that saw no row of their release and model shape; rows
judged `later` were looked up after the fit's rows were fixed, and no coefficient has seen them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headrace.bench.validation.fitting import (
    Parameter,
    Values,
    as_rows,
    fit_log,
    leave_out,
    parameter_key,
    quantile_interval,
    resample,
)
from headrace.bench.validation.score import Row, Section, Subject, scores
from headrace.fleet import Accelerator, Deployment, catalog
from headrace.perf import dataflow, rdu
from headrace.perf.coefficients import Coefficient, coefficient, releases
from headrace.perf.memory import require_accelerator
from headrace.perf.passes import touched_weight_bytes

NAME = "sram"
WSE, LPU, RDU = "WSE-3", "LPU", "SN40L"
SHARED_TIER_SINCE = "2026"
LAST_LINE = "2025"  # no release since then moved a speed: rows from then on are one software line
SOURCE = "headrace validate --only sram, fitted on data/published_speeds.csv"
DATE = "2026-11"
LEAST_INTERVAL = (0.85, 1.15)
DRAWS = 40

PARAMETERS: dict[str, tuple[Parameter, ...]] = {
    WSE: (
        Parameter((WSE,), "token_fixed_s", 1.8e-4, 1e-5, 5e-4, 0.3, "s per token"),
        Parameter((WSE,), "layer_s", 1.2e-5, 1e-6, 1e-4, 0.7, "s per layer and token at hidden size 4096", "2024-08"),
        Parameter((WSE,), "layer_s", 5e-6, 5e-7, 1e-4, 0.7, "s per layer and token at hidden size 4096", "2024-10"),
        Parameter((WSE,), "hop_s", 5e-6, 1e-7, 5e-4, 1.0, "s per wafer boundary and token"),
        Parameter((WSE,), "speculation_gain", 2.9, 1.0, 8.0, 0.3, "tokens per pass, net of the draft", "2024-10"),
        Parameter((WSE,), "shared_tier_s", 1.5e-4, 1e-6, 1e-3, 0.7, "s per token", SHARED_TIER_SINCE),
    ),
    LPU: (
        Parameter((LPU,), "layer_s", 4.2e-5, 1e-5, 1e-4, 0.3, "s per layer and token", "2024"),
        Parameter((LPU,), "layer_s", 4.2e-5, 1e-5, 1e-4, 0.3, "s per layer and token", "2025"),
        Parameter((LPU,), "moe_layer_extra_s", 8e-6, 1e-7, 1e-4, 1.0, "s per layer with routed experts and token"),
        Parameter((LPU,), "hop_s", 7e-7, 1e-8, 5e-6, 0.7, "s per chip boundary and token"),
    ),
    RDU: (
        Parameter((RDU,), "memory_efficiency", 0.85, 0.4, 1.0, 0.1, "fraction of peak bandwidth"),
        Parameter((RDU,), "layer_s", 7e-6, 1e-7, 1e-4, 0.7, "s per layer and pass"),
        Parameter((RDU,), "expert_s", 5.7e-6, 1e-7, 1e-4, 0.7, "s per expert, layer and pass"),
        Parameter((RDU,), "tokens_per_pass", 5.0, 1.0, 6.0, 0.2, "tokens per checking pass"),
    ),
}


@dataclass(frozen=True, slots=True)
class PublishedSpeed:
    """One published speed of one user.

    Attributes:
        independent: somebody other than the vendor measured it.
        use: `fit`, or `later`: looked up after the fit.
    """

    deployment: Deployment
    tokens_per_s: float
    independent: bool
    use: str

    @property
    def chip(self) -> Accelerator:
        """The accelerator that serves."""
        return require_accelerator(self.deployment)

    @property
    def shared_tier(self) -> bool:
        """Whether its time includes what a shared endpoint adds."""
        return self.independent and (self.deployment.release or "") >= SHARED_TIER_SINCE

    @property
    def group(self) -> str:
        """Rows that are left out together: one software line, one shape of model, whatever its name."""
        model, release = self.deployment.model, self.deployment.release or ""
        line = LAST_LINE if release >= LAST_LINE else release
        return f"{line} {model.layers}x{model.hidden_size}x{model.experts}"

    @property
    def label(self) -> str:
        """What the row is, for people."""
        place = self.deployment
        how = "speculating, " if place.speculation else ""
        by = "independent" if self.independent else "vendor"
        return f"{place.release} {place.model.name} x{place.count} ({how}{by})"


def published_speeds() -> list[PublishedSpeed]:
    """The rows that are predicted, in the order of the table."""
    return [_speed(row) for row in catalog.table("published_speeds.csv") if row["use"] != "excluded"]


def excluded_speeds() -> list[str]:
    """The rows that are not, each with its reason."""
    rows = (row for row in catalog.table("published_speeds.csv") if row["use"] == "excluded")
    return [f"{row['vendor']} {row['model']} {row['tokens_per_s_user']} tokens/s: {row['note']}" for row in rows]


def predicted_s(speed: PublishedSpeed, values: Values) -> float:
    """Seconds per token under the coefficients of a fit; those that are not fitted come from the table."""
    place, chip = speed.deployment, speed.chip
    if chip.name == RDU:
        return _rdu_s(place, values)
    law = dataflow.sram_law(place)
    held = {name: values[parameter_key(chip.name, name)] for name in _unreleased(chip.name)}
    for name in ("layer_s", "speculation_gain") if place.speculation else ("layer_s",):
        held[name] = values[parameter_key(chip.name, name, coefficient(chip, name, place.release).release)]
    tier = parameter_key(chip.name, "shared_tier_s", SHARED_TIER_SINCE)
    held["shared_tier_s"] = values.get(tier, 0.0) if speed.shared_tier else 0.0
    return dataflow.token_s(place.model, place.count, replace(law, **held))


def fit_speeds(accelerator: str, speeds: Sequence[PublishedSpeed]) -> dict[str, float]:
    """Coefficients of one accelerator; rows of one release and model count as much as one row."""
    groups = [speed.group for speed in speeds]
    return fit_log(
        lambda values: [predicted_s(speed, values) for speed in speeds],
        [1.0 / speed.tokens_per_s for speed in speeds],
        [1.0 / groups.count(group) for group in groups],
        PARAMETERS[accelerator],
    )


def fitted_coefficients(draws: int = DRAWS) -> list[Coefficient]:
    """The rows of the coefficient table that this section fits, intervals included if there are `draws`."""
    rows = []
    for accelerator, parameters in PARAMETERS.items():
        speeds = [each for each in _of(accelerator) if each.use == "fit"]

        def fit(chosen: Sequence[int], accelerator: str = accelerator, speeds: list[PublishedSpeed] = speeds) -> Values:
            return fit_speeds(accelerator, [speeds[index] for index in chosen])

        intervals = resample([each.group for each in speeds], fit, draws) if draws else {}
        rows += as_rows(fit(range(len(speeds))), intervals, parameters, len(speeds), SOURCE, DATE)
    return rows


def speed_factors() -> dict[str, tuple[float, float]]:
    """Published over predicted speed of the rows that no fit had seen, by accelerator: the middle 80 %."""
    factors = {}
    for accelerator in PARAMETERS:
        unseen = [row for row in _rows(accelerator) if row.judged != "in sample"]
        low, high = quantile_interval([row.measured / row.predicted for row in unseen])
        factors[accelerator] = (min(low, LEAST_INTERVAL[0]), max(high, LEAST_INTERVAL[1]))
    return factors


def sram_section() -> Section:
    """Every published speed, in sample, left out, and looked up later."""
    rows = [row for accelerator in PARAMETERS for row in _rows(accelerator)]
    order = {judged: index for index, judged in enumerate(("in sample", "left out", "later"))}
    rows.sort(key=lambda row: order[row.judged])
    return Section(
        NAME,
        "published output tokens/s of one user",
        parameters=sum(len(each) for each in PARAMETERS.values()),
        points=sum(each.use == "fit" for each in published_speeds()),
        scores=scores(rows),
        rows=rows,
        notes=[*_drift(), *(f"excluded: {each}" for each in excluded_speeds())],
    )


def _rows(accelerator: str) -> list[Row]:
    speeds = _of(accelerator)
    fitted = [each for each in speeds if each.use == "fit"]
    values = fit_speeds(accelerator, fitted)
    held = leave_out(
        [each.group for each in fitted],
        lambda chosen: fit_speeds(accelerator, [fitted[index] for index in chosen]),
        lambda index, found: predicted_s(fitted[index], found),
    )
    rows = [_row(each, "in sample", predicted_s(each, values)) for each in fitted]
    rows += [_row(each, "left out", token_s) for each, token_s in zip(fitted, held, strict=True)]
    return rows + [_row(each, "later", predicted_s(each, values)) for each in speeds if each.use == "later"]


def _row(speed: PublishedSpeed, judged: str, token_s: float) -> Row:
    factor, predicted = coefficient(speed.chip, "speed_factor"), 1.0 / token_s
    bounds = predicted * factor.low, predicted * factor.high
    place = speed.deployment
    by = "measured by others" if speed.independent else "published by the vendor"
    load = f"{place.count} chips, one user, {by}" + (", speculating" if place.speculation else "")
    subject = Subject("tokens/s", speed.chip.name, place.model.name, f"release {place.release}", load)
    return Row(speed.chip.vendor, speed.label, judged, predicted, speed.tokens_per_s, *bounds, subject)


def _drift() -> list[str]:
    """What each release made of a layer's latency."""
    notes = []
    for name in (WSE, LPU):
        chip = catalog.accelerator(name)
        rows = dict.fromkeys(coefficient(chip, "layer_s", release) for release in releases(chip))
        steps = ", ".join(f"{row.value * 1e6:.2f} us since {row.release}" for row in rows)
        notes.append(f"release drift, {chip.vendor}: a layer takes {steps}")
    return notes


def _of(accelerator: str) -> list[PublishedSpeed]:
    return [each for each in published_speeds() if each.chip.name == accelerator]


def _unreleased(accelerator: str) -> list[str]:
    return [each.name for each in PARAMETERS[accelerator] if each.release is None]


def _rdu_s(place: Deployment, values: Values) -> float:
    held = {name: values[parameter_key(RDU, name)] for name in _unreleased(RDU)}
    tokens_per_pass = held.pop("tokens_per_pass")
    law, draft = rdu.RduLaw(**held), rdu.rdu_draft(place)
    bandwidth = place.count * (require_accelerator(place).memory_bandwidth_bytes_per_s or 0.0)
    parts = rdu.pass_parts(place.model, touched_weight_bytes(place, 1), bandwidth, law)
    changed = None if draft is None else replace(draft, tokens_per_pass=tokens_per_pass)
    return rdu.token_s(sum(parts.values()), bandwidth, law, changed)


def _speed(row: dict[str, str]) -> PublishedSpeed:
    deployment = Deployment(
        name=f"{row['vendor']} {row['model']}",
        model=catalog.find_model(row["model"]),
        accelerator=catalog.accelerator(row["accelerator"]),
        count=int(row["count"]),
        weight_bits=int(row["weight_bits"]),
        max_batch=1,
        release=row["release"],
        speculation=row["speculation"] == "true",
    )
    return PublishedSpeed(deployment, float(row["tokens_per_s_user"]), row["measured_by"] == "independent", row["use"])
