"""Parameters of the closed form: few that hold for every chip, and how far groups of measurements may move them.

A parameter of a point is a shared value times a factor for each group that the point belongs to: its chip, its serving
software, both together, its precision. Every factor is shrunk towards 1 by a prior, so a group with few measurements
stays with the rest, and a chip that nobody measured has the shared value. What the formulas leave over for one model on
one chip is a factor on the result, shrunk in the same way: a model that nobody measured has none. The values come from
`headrace/data/speed_parameters.csv`, fitted on public measurements by `headrace.bench.validation.gpu_table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from headrace.fleet import Deployment, catalog
from headrace.perf.continuous.points import Array, weight_bits

SHARED = "all"
FILE = "speed_parameters.csv"


class Parameter(NamedTuple):
    """A shared parameter: its prior (median, and standard deviation of the logarithm) and which groups move it."""

    prior: float
    spread: float
    unit: str
    meaning: str
    moves: Mapping[str, float] = {}


GROUPS: dict[str, tuple[str, ...]] = {
    "generation": ("generation",),
    "system": ("system",),
    "software": ("software",),
    "system_software": ("system", "software"),
    "precision": ("generation", "bits"),
    "model": ("model",),
    "origin_software": ("origin", "software"),
    "model_system_software": ("model", "system", "software"),
    "model_precision": ("model", "bits", "generation"),
    "version": ("system", "software", "version"),
    "model_version": ("model", "system", "software", "version", "bits"),
    "kind": ("kind", "system", "software"),
}
_SITE = {"generation": 0.15, "system": 0.15, "software": 0.2, "system_software": 0.15}
PARAMETERS: dict[str, Parameter] = {
    "mbu": Parameter(
        0.75, 0.15, "fraction", "of memory bandwidth, weights", {"system": 0.08, "software": 0.08, "precision": 0.1}
    ),
    "mbu_kv": Parameter(
        0.6,
        0.3,
        "fraction",
        "of memory bandwidth, KV cache and linear state",
        {"generation": 0.2, "software": 0.2, "precision": 0.1},
    ),
    "mfu": Parameter(0.5, 0.3, "fraction", "of peak FLOP/s in prefill", {**_SITE, "precision": 0.3, "model": 0.2}),
    "mfu_moe": Parameter(0.5, 0.4, "factor", "on mfu for a mixture of experts"),
    "mfu_decode": Parameter(0.5, 0.4, "fraction", "of peak FLOP/s in decode"),
    "skew": Parameter(0.7, 0.3, "exponent", "of the batch in the coverage of experts"),
    "latency": Parameter(
        1.0,
        0.01,
        "factor",
        "on every latency of a layer",
        {"generation": 0.15, "system": 0.1, "software": 0.15, "system_software": 0.1, "precision": 0.1, "model": 0.15},
    ),
    "layer_s": Parameter(25e-6, 0.5, "s", "of a layer besides its bytes, at a hidden size of 4096"),
    "layer_size": Parameter(0.5, 0.3, "exponent", "of hidden size / 4096 in the latency of a layer"),
    "latent_layer_s": Parameter(15e-6, 0.6, "s", "more for a layer with latent attention"),
    "moe_layer_s": Parameter(30e-6, 0.6, "s", "more for a layer with experts"),
    "expert_s": Parameter(0.1e-6, 0.8, "s", "for each expert of a layer that a chip is asked for"),
    "linear_layer_s": Parameter(10e-6, 0.6, "s", "more for a layer with linear attention"),
    "reduce_s": Parameter(
        8e-6, 0.5, "s", "latency of an all-reduce over two chips", {"generation": 0.2, "software": 0.2}
    ),
    "reduce_growth": Parameter(0.3, 0.6, "factor", "of that latency for each doubling of the chips"),
    "link_share": Parameter(0.5, 0.5, "fraction", "of scale-up bandwidth in an all-reduce"),
    "expert_parallel_s": Parameter(15e-6, 0.8, "s", "more for a layer with parallel experts", {"software": 0.2}),
    "expert_link_share": Parameter(0.3, 0.6, "fraction", "of scale-up bandwidth in dispatch and combine"),
    "ranks_s": Parameter(15e-6, 0.8, "s", "more for a layer with data-parallel attention", {"software": 0.2}),
    "imbalance": Parameter(0.15, 0.7, "fraction", "of the step for each doubling beyond 8 chips"),
    "host": Parameter(
        1.0, 0.01, "factor", "on every time of the host", {"software": 0.15, "system_software": 0.1, "model": 0.2}
    ),
    "step_s": Parameter(0.2e-3, 0.4, "s", "host time of a step"),
    "sequence_s": Parameter(5e-6, 0.5, "s", "host time of a sequence of a rank in a step"),
    "overlap": Parameter(0.9, 0.2, "fraction", "of prefill that decode does not hide"),
    "chunk_s": Parameter(1e-3, 0.8, "s", "more for a step with prefill"),
    "activation_bytes": Parameter(30.0, 0.6, "byte", "of traffic per token, layer and hidden value in prefill"),
    "expert_activation_bytes": Parameter(10.0, 0.6, "byte", "the same for each expert of a token"),
    "ttft_s": Parameter(8e-3, 0.4, "s", "fixed part of TTFT", {"origin_software": 0.2, "system_software": 0.2}),
    "slot_wait": Parameter(
        0.02,
        0.5,
        "interval",
        "between completions that a request waits for a slot",
        {"origin_software": 0.5, "model_system_software": 1.5},
    ),
    "wait_steps": Parameter(1.0, 0.5, "step", "that a prompt waits before it is scheduled"),
    "eager_layer_s": Parameter(
        60e-6,
        0.7,
        "s",
        "of a layer and chunk in prefill, which has no captured graph",
        {"software": 0.3, "system_software": 0.2, "model": 0.3},
    ),
    "eager_moe_layer_s": Parameter(60e-6, 0.7, "s", "more for a layer with experts"),
    "ttft_token_s": Parameter(2e-6, 1.0, "s", "of the front end for a prompt token"),
    "burst": Parameter(
        0.1,
        0.6,
        "odds",
        "that others' prefill is met before the first token",
        {"origin_software": 0.5, "system_software": 0.3},
    ),
    "burst_split": Parameter(0.1, 0.8, "fraction", "the same, disaggregated", {"system_software": 0.4}),
    "transfer": Parameter(1.5, 0.4, "factor", "on prefill, disaggregated", {"software": 0.3, "system_software": 0.2}),
    "ttft_split_s": Parameter(60e-3, 0.8, "s", "more of TTFT, disaggregated", {"system_software": 0.4}),
    "split_decode": Parameter(
        1.0, 0.2, "factor", "on the step, disaggregated (speculation is not recorded)", {"system_software": 0.15}
    ),
    "ttft_client_s": Parameter(
        0.1e-3, 0.6, "s", "of the front end for a client", {"origin_software": 0.5, "system_software": 0.3}
    ),
    "ttft_ranks_s": Parameter(0.1, 1.0, "s", "that data-parallel ranks wait for each other", {"software": 0.4}),
}
OUTPUTS = ("tpot", "ttft")
EFFECTS: dict[str, dict[str, float]] = {
    "tpot": {
        "model_system_software": 0.25,
        "model_precision": 0.08,
        "version": 0.1,
        "model_version": 0.12,
        "kind": 0.1,
    },
    "ttft": {"model_system_software": 0.5, "model_precision": 0.1, "version": 0.1, "model_version": 0.2, "kind": 0.2},
}
GENERATIONS = {
    **dict.fromkeys(("H100", "H200"), "hopper"),
    **dict.fromkeys(("B200", "B300", "GB200", "GB300"), "blackwell"),
}

Levels = dict[str, list[str]]  # for each group, the level of every point


class Keys(NamedTuple):
    """What places a point in its groups; an empty word is a level that nobody measured."""

    system: str
    software: str
    bits: str
    model: str
    kind: str
    origin: str = ""
    version: str = ""

    @property
    def generation(self) -> str:
        """Family of chips that share their architecture."""
        return GENERATIONS.get(self.system, "")


@dataclass(frozen=True)
class Fitted:
    """The fitted table: shared values, and factors by (parameter or output, group, level).

    Attributes:
        half_widths: of the 80 % interval, in log space, by (output, what is known of the point).
    """

    shared: dict[str, float]
    factors: dict[tuple[str, str], dict[str, float]]
    half_widths: dict[tuple[str, str], float]


def keys_of(deployment: Deployment, split: bool) -> Keys:
    """Where a deployment belongs."""
    chip = deployment.accelerator
    system = "" if chip is None else chip.speed_as or chip.name
    kind = "split" if split else "mixed"
    return Keys(system, deployment.software or "", str(weight_bits(deployment)), model_key(deployment), kind)


def model_key(deployment: Deployment) -> str:
    """Models of one family and shape serve alike, whatever their weights say."""
    model = deployment.model
    return f"{model.family or model.name}-{model.layers}x{model.hidden_size}"


def levels_of(keys: Sequence[Keys]) -> Levels:
    """The level of every point in every group."""
    return {
        group: ["|".join(getattr(key, column) for column in columns) for key in keys]
        for group, columns in GROUPS.items()
    }


def theta_of(levels: Levels, table: Fitted) -> tuple[dict[str, Array], dict[str, Array]]:
    """Every parameter of every point, and the factor on each output."""
    count = len(levels["system"])
    theta = {name: np.full(count, table.shared[name]) for name in PARAMETERS}
    outputs = {name: np.ones(count) for name in OUTPUTS}
    for (name, group), factors in table.factors.items():
        known = np.array([factors.get(level, 1.0) for level in levels[group]])
        into = theta if name in theta else outputs
        into[name] = into[name] * known
    return theta, outputs


def supports_of(levels: Levels, table: Fitted) -> list[str]:
    """What of each point was measured: `known`, the `model` unseen there, or the `system` unseen."""
    measured = table.factors["tpot", "model_system_software"]
    systems = table.factors["latency", "system"]
    places = zip(levels["model_system_software"], levels["system"], strict=True)
    return ["known" if place in measured else "model" if system in systems else "system" for place, system in places]


@cache
def fitted() -> Fitted:
    """The table that ships."""
    shared: dict[str, float] = {}
    factors: dict[tuple[str, str], dict[str, float]] = {}
    widths: dict[tuple[str, str], float] = {}
    for row in catalog.table(FILE):
        name, group, level, value = row["parameter"], row["group"], row["level"], float(row["value"])
        if group == SHARED:
            shared[name] = value
        elif group == "interval":
            widths[name, level] = value
        else:
            factors.setdefault((name, group), {})[level] = value
    return Fitted(shared, factors, widths)
