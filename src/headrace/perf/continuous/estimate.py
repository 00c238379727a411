"""Estimates of continuous batching: TTFT and TPOT with their intervals, and what binds them.

The width of an interval depends on what was measured: of this model on this chip under this software, of another model
there, or of nothing on this chip. Outside the length that the model can hold, or where its weights do not fit, an
estimate is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment
from headrace.perf.continuous.loop import Served, serve
from headrace.perf.continuous.parameters import Levels, fitted, keys_of, levels_of, supports_of, theta_of
from headrace.perf.continuous.points import Array, Load, Points, Split, points_of
from headrace.perf.continuous.prompt import occupancy_s
from headrace.perf.continuous.step import (
    Theta,
    arithmetic_s,
    cache_s,
    decode_step_s,
    dispatch_s,
    host_s,
    layers_s,
    reduce_s,
    weights_s,
)
from headrace.perf.estimate import Estimate
from headrace.perf.memory import memory_fit, require_accelerator

Asked = tuple[Deployment, Load, Split | None]
UNSEEN = {
    "known": "measured on this chip and software",
    "model": "this model was not measured on this chip and software",
    "system": "nothing was measured on this chip",
}


class ServedEstimate(NamedTuple):
    """What a client of a closed loop sees; `batch`: sequences that decode together."""

    ttft: Estimate
    tpot: Estimate
    batch: float

    def tokens_per_s(self, load: Load) -> float:
        """Output tokens per second of all clients of `load` together."""
        request_s = self.ttft.value + self.tpot.value * max(1, load.output_tokens - 1)
        return load.concurrency * load.output_tokens / request_s


def served_estimates(asked: Sequence[Asked]) -> list[ServedEstimate]:
    """TTFT and TPOT of each deployment under its load.

    Raises:
        ModelRangeError: a context is longer than the model's, the weights do not fit, or a figure is not known.
    """
    for deployment, load, split in asked:
        _check(deployment, load)
        for count in (deployment.count,) if split is None else (deployment.count, split.prefill_count):
            _check_fit(deployment, count)
    points = points_of(asked)
    levels = levels_of([keys_of(deployment, split is not None) for deployment, _, split in asked])
    theta, outputs = theta_of(levels, fitted())
    served = serve(points, theta)
    why = _why(points, theta, served)
    tpot = _estimates(served.tpot_s * outputs["tpot"], "tpot", levels, why)
    ttft = _estimates(served.ttft_s * outputs["ttft"], "ttft", levels, _why_ttft(points, theta, served))
    return [ServedEstimate(*each) for each in zip(ttft, tpot, served.batch.tolist(), strict=True)]


def serve_many(
    deployment: Deployment, input_tokens: Array, output_tokens: Array, concurrency: Array, split: Split | None = None
) -> Served:
    """TPOT and TTFT of one deployment under many loads at once, for planners: arrays of equal length, no range checked.

    Raises:
        ModelRangeError: a figure of the chip or of the model is not known.
    """
    one = points_of([(deployment, Load(1, 1), split)])
    theta, outputs = theta_of(levels_of([keys_of(deployment, split is not None)]), fitted())
    count = len(input_tokens)
    points = one.take(np.zeros(count, dtype=np.intp))
    points.input_tokens, points.output_tokens, points.concurrency = input_tokens, output_tokens, concurrency
    served = serve(points, {name: np.repeat(value, count) for name, value in theta.items()})
    return Served(served.tpot_s * outputs["tpot"], served.ttft_s * outputs["ttft"], served.batch)


def estimate_of(deployment: Deployment, output: str, value: float, p: Points, t: Theta, batch: float) -> Estimate:
    """`value` with the interval of `output` (`tpot`, `ttft`) where this deployment belongs; `p` has one point."""
    levels = levels_of([keys_of(deployment, split=False)])
    at = np.array([batch])
    why = _largest(_pass_parts(p, t, at)) if output == "tpot" else ["own prefill"]
    return _estimates(np.array([value]), output, levels, why)[0]


def _check(deployment: Deployment, load: Load) -> None:
    tokens, limit = load.input_tokens + load.output_tokens, deployment.model.context_tokens
    if load.input_tokens < 1 or load.output_tokens < 1 or load.concurrency < 1 or tokens > limit:
        raise ModelRangeError(
            f"{load} lies outside what {deployment.model.name!r} can be asked: at least one token each way and one "
            f"client, at most {limit} tokens together"
        )


def _check_fit(deployment: Deployment, count: int) -> None:
    chip, fit = require_accelerator(deployment), memory_fit(replace(deployment, count=count))
    if fit.weight_bytes > fit.usable_bytes:
        needed = int(np.ceil(fit.weight_bytes / fit.usable_bytes * count))
        raise ModelRangeError(
            f"deployment {deployment.name!r}: the weights of {deployment.model.name} do not fit on {count} "
            f"x {chip.name}; it takes at least {needed}"
        )


def _estimates(values: Array, output: str, levels: Levels, why: Sequence[str]) -> list[Estimate]:
    table = fitted()
    kinds = [level.partition("|")[0] for level in levels["kind"]]
    found = []
    for value, support, kind, reason in zip(values, supports_of(levels, table), kinds, why, strict=True):
        factor = float(np.exp(table.half_widths[output, f"{support}|{kind}"]))
        source = f"speed_parameters.csv: {UNSEEN[support]}"
        found.append(Estimate(float(value), float(value) / factor, float(value) * factor, "s", reason, source))
    return found


def _why(p: Points, t: Theta, served: Served) -> list[str]:
    """The largest part of a pass: without speculation, of the time per output token."""
    share = np.where(p.split > 0.5, 0.0, np.maximum(0.0, served.batch - 1.0) / p.output_tokens * p.per_pass)
    others = t["overlap"] * occupancy_s(p, t, p.count, p.width) * share
    return _largest({**_pass_parts(p, t, served.batch), "prefill of others": others})


def _pass_parts(p: Points, t: Theta, batch: Array) -> dict[str, Array]:
    tokens = batch * p.checked
    return {
        "weight reads": weights_s(p, t, tokens),
        "KV cache reads": cache_s(p, t, batch),
        "arithmetic": arithmetic_s(p, t, tokens),
        "layer latency": layers_s(p, t, tokens),
        "collectives": reduce_s(p, t, tokens / p.ranks, p.width) + dispatch_s(p, t, tokens / p.count),
        "host": host_s(t, batch / p.ranks),
        "draft": p.draft_steps * decode_step_s(p, t, batch),
    }


def _why_ttft(p: Points, t: Theta, served: Served) -> list[str]:
    """The largest part of the time to the first token."""
    work = occupancy_s(p, t, np.where(p.split > 0.5, p.prefill_count, p.count), p.width)
    early = t["burst"] / (1.0 + t["burst"])
    fixed = t["ttft_s"] + t["ttft_token_s"] * p.input_tokens + np.where(p.split > 0.5, t["ttft_split_s"], 0.0)
    queue = early * (p.concurrency - 1.0) * work + t["ttft_client_s"] * p.concurrency
    rest = np.maximum(0.0, served.ttft_s - queue - work - fixed)
    return _largest({"own prefill": work, "prefill of others": queue, "fixed": fixed, "launches and waits": rest})


def _largest(parts: dict[str, Array]) -> list[str]:
    names = list(parts)
    return [names[k] for k in np.argmax(np.stack([parts[name] for name in names]), axis=0)]
