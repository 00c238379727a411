"""One decode step and one prefill of a deployment, by whichever law holds for its chip."""

from __future__ import annotations

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment
from headrace.perf import roofline
from headrace.perf.coefficients import coefficient
from headrace.perf.dataflow import sram_step_s
from headrace.perf.estimate import Bound, Estimate, sources
from headrace.perf.law import Law, speed_law
from headrace.perf.memory import require_accelerator
from headrace.perf.neuron import neuron_law, neuron_shape, neuron_step_s, prefill_rows
from headrace.perf.neuron import prefill_s as neuron_prefill_s
from headrace.perf.rdu import rdu_step_s
from headrace.perf.roofline import check_context, step_parts


def decode_step_s(deployment: Deployment, batch: int, context_tokens: int) -> Estimate:
    """Time per output token of each of `batch` sequences of mean length `context_tokens`; one step without speculation.

    `perf.roofline` has the formula for external memory, `perf.dataflow` for SRAM, `perf.neuron` for Inferentia and
    Trainium, `perf.rdu` for SambaNova. Never falls when either argument grows.

    Raises:
        ModelRangeError: `batch` lies outside 1 to max_batch, `context_tokens` outside 0 to the model's context, or the
            deployment is only observed.
    """
    if not 1 <= batch <= deployment.max_batch:
        raise ModelRangeError(
            f"batch {batch} lies outside 1 to {deployment.max_batch} of deployment {deployment.name!r}"
        )
    check_context(deployment, context_tokens)
    law = speed_law(require_accelerator(deployment))
    if law is Law.SRAM:
        return sram_step_s(deployment, batch)
    if law is Law.NEURON:
        return neuron_step_s(deployment, context_tokens)
    return (
        rdu_step_s(deployment, batch, context_tokens)
        if law is Law.RDU
        else _roofline(deployment, batch, context_tokens)
    )


def prefill_s(deployment: Deployment, input_tokens: int) -> Estimate:
    """Time to prefill `input_tokens` alone: `perf.neuron` on Neuron, else `perf.roofline`.

    Raises:
        ModelRangeError: `input_tokens` lies outside 0 to the model's context, or the deployment is only observed.
    """
    check_context(deployment, input_tokens)
    chip = require_accelerator(deployment)
    if speed_law(chip) is not Law.NEURON:
        return roofline.prefill_s(deployment, input_tokens)
    value = neuron_prefill_s(neuron_shape(deployment), neuron_law(deployment), input_tokens) if input_tokens else 0.0
    factor = coefficient(chip, "speed_factor")
    rows = (*prefill_rows(deployment), factor)
    return Estimate(value, value / factor.high, value / factor.low, "s", "arithmetic", sources(rows))


def _roofline(deployment: Deployment, batch: int, context_tokens: int) -> Estimate:
    parts = step_parts(deployment, batch, context_tokens)
    low = step_parts(deployment, batch, context_tokens, Bound.FAST).total_s
    high = step_parts(deployment, batch, context_tokens, Bound.SLOW).total_s
    return Estimate(parts.total_s, low, high, "s", parts.why, sources(roofline.step_rows(deployment)))
