"""From a deployment to its speed curve: the numbers that model servers and prices use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, OperatingPoint
from headrace.perf import dataflow, neuron, rdu
from headrace.perf.calibrated import calibrated_curve
from headrace.perf.coefficients import coefficient
from headrace.perf.continuous import line_of
from headrace.perf.continuous.prompt import CHUNK_TOKENS
from headrace.perf.law import Law, speed_law
from headrace.perf.memory import MemoryFit, memory_fit, require_accelerator
from headrace.perf.prefill import prefill_coefficients
from headrace.perf.speculation import declared_tokens_per_pass
from headrace.perf.speed import Serving, SpeedCurve


def speed_curve(deployment: Deployment) -> SpeedCurve:
    """The speed of one replica: as calibrated, as observed, or as the law of its chip predicts.

    Raises:
        ModelRangeError: the model does not fit, or the accelerator has no speed coefficients.
    """
    if deployment.calibrated is not None:
        return calibrated_curve(deployment, deployment.calibrated)
    if deployment.observed is not None:
        return _observed(deployment.observed, deployment.max_batch)
    return _predicted(deployment)


def _observed(point: OperatingPoint, max_batch: int) -> SpeedCurve:
    """A service of constant speed: what happens behind its door is not known."""
    return SpeedCurve(
        serving=Serving.HOSTED,
        ttft_overhead_s=point.ttft_s,
        prefill_s_per_token=1.0 / point.input_tokens_per_s,
        prefill_s_per_token_squared=0.0,
        step_s=(point.tpot_s,) * (max_batch + 1),
        kv_s_per_token=0.0,
        max_batch=max_batch,
        chunk_tokens=1,
        depth=max_batch,
        kv_capacity_tokens=None,
        power_w=None,
    )


def _predicted(deployment: Deployment) -> SpeedCurve:
    chip = require_accelerator(deployment)
    fit = memory_fit(deployment)
    if not fit.fits:
        raise ModelRangeError(
            f"deployment {deployment.name!r}: {deployment.model.name} does not fit on {deployment.count} x {chip.name}"
        )
    law = speed_law(chip)
    if law is Law.CONTINUOUS:
        return _continuous(deployment, fit)
    shape = BUILDERS[law](deployment)
    return SpeedCurve(
        serving=Serving.DATAFLOW if law is Law.SRAM else Serving.BATCHING,
        ttft_overhead_s=coefficient(chip, "ttft_overhead_s").value,
        prefill_s_per_token=shape.prefill[1],
        prefill_s_per_token_squared=shape.prefill[2],
        step_s=shape.step_s,
        kv_s_per_token=shape.kv_s_per_token,
        max_batch=deployment.max_batch,
        chunk_tokens=shape.chunk_tokens,
        depth=shape.depth,
        kv_capacity_tokens=fit.kv_capacity_tokens,
        power_w=_power_w(deployment),
        prefill_fixed_s=shape.prefill[0],
        tokens_per_pass=shape.tokens_per_pass,
    )


def _continuous(deployment: Deployment, fit: MemoryFit) -> SpeedCurve:
    """The closed form of `perf.continuous`, condensed by its `line`."""
    return SpeedCurve(
        serving=Serving.BATCHING,
        max_batch=deployment.max_batch,
        chunk_tokens=round(CHUNK_TOKENS),
        depth=1,
        kv_capacity_tokens=fit.kv_capacity_tokens,
        power_w=_power_w(deployment),
        tokens_per_pass=declared_tokens_per_pass(deployment),
        **line_of(deployment)._asdict(),
    )


def _power_w(deployment: Deployment) -> float | None:
    chip = require_accelerator(deployment)
    return None if chip.power_w is None else deployment.count * chip.power_w


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a law contributes to a curve; `prefill`: seconds, seconds per token and per token squared."""

    step_s: tuple[float, ...]
    kv_s_per_token: float
    prefill: tuple[float, float, float]
    chunk_tokens: int
    depth: int = 1
    tokens_per_pass: float = 1.0


def _sram(deployment: Deployment) -> _Shape:
    """Speculation is in the token time: `tokens_per_pass` is the net gain, a lower bound of what a pass yields."""
    law, depth = dataflow.sram_law(deployment), dataflow.pipeline_depth(deployment)
    token_s = dataflow.token_s(deployment.model, deployment.count, law)
    steps = tuple(token_s * max(1.0, batch / depth) for batch in _batches(deployment))
    prefill = (0.0, *prefill_coefficients(deployment))
    return _Shape(steps, 0.0, prefill, _chunk(deployment), depth, law.speculation_gain)


def _neuron(deployment: Deployment) -> _Shape:
    """A step of constant length, and a whole prefill at a time, during which every slot stands still."""
    shape, law, draft = neuron.neuron_shape(deployment), neuron.neuron_law(deployment), neuron.neuron_draft(deployment)
    token_s = neuron.token_s(deployment, 0.0)
    fixed_s, per_token_s = neuron.prefill_parts(shape, law)
    per_pass = 1.0 if draft is None else neuron.tokens_per_pass(draft)
    steps, kv_s = (token_s,) * (deployment.max_batch + 1), neuron.kv_s_per_token(deployment)
    prefill = (fixed_s, per_token_s * neuron.MEAN_PADDING, 0.0)
    return _Shape(steps, kv_s, prefill, deployment.model.context_tokens, tokens_per_pass=per_pass)


def _rdu(deployment: Deployment) -> _Shape:
    draft = rdu.rdu_draft(deployment)
    steps = tuple(rdu.rdu_step_s(deployment, batch, 0.0).value for batch in _batches(deployment))
    prefill = (0.0, *prefill_coefficients(deployment))
    per_pass = 1.0 if draft is None else draft.tokens_per_pass
    return _Shape(steps, rdu.kv_s_per_token(deployment), prefill, _chunk(deployment), tokens_per_pass=per_pass)


def _batches(deployment: Deployment) -> range:
    return range(deployment.max_batch + 1)


def _chunk(deployment: Deployment) -> int:
    return round(coefficient(require_accelerator(deployment), "chunk_tokens").value)


BUILDERS: dict[Law, Callable[[Deployment], _Shape]] = {
    Law.SRAM: _sram,
    Law.NEURON: _neuron,
    Law.RDU: _rdu,
}
