"""One decode step and one prefill of a deployment, by whichever law holds for its chip."""

from __future__ import annotations

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment
from headrace.perf.coefficients import coefficient
from headrace.perf.continuous import decode_estimate, prompt_estimate
from headrace.perf.dataflow import sram_step_s
from headrace.perf.estimate import Estimate, sources
from headrace.perf.law import Law, speed_law
from headrace.perf.memory import require_accelerator
from headrace.perf.neuron import neuron_law, neuron_shape, neuron_step_s, prefill_rows
from headrace.perf.neuron import prefill_s as neuron_prefill_s
from headrace.perf.prefill import arithmetic_prefill_s
from headrace.perf.rdu import rdu_step_s


def decode_step_s(deployment: Deployment, batch: int, context_tokens: int) -> Estimate:
    """Time per output token of each of `batch` sequences of mean length `context_tokens`; one step without speculation.

    `perf.continuous` has the formula for external memory, `perf.dataflow` for SRAM, `perf.neuron` for Inferentia and
    Trainium, `perf.rdu` for SambaNova. Never falls when either argument grows.

    Raises:
        ModelRangeError: `batch` lies outside 1 to max_batch, `context_tokens` outside 0 to the model's context, or the
            deployment is only observed.
    """
    if not 1 <= batch <= deployment.max_batch:
        raise ModelRangeError(
            f"batch {batch} lies outside 1 to {deployment.max_batch} of deployment {deployment.name!r}"
        )
    _check_context(deployment, context_tokens)
    law = speed_law(require_accelerator(deployment))
    if law is Law.SRAM:
        return sram_step_s(deployment, batch)
    if law is Law.NEURON:
        return neuron_step_s(deployment, context_tokens)
    by_law = rdu_step_s if law is Law.RDU else decode_estimate
    return by_law(deployment, batch, context_tokens)


def prefill_s(deployment: Deployment, input_tokens: int) -> Estimate:
    """Time of a replica that one prompt takes, without the fixed overhead of a first token.

    Continuous batching: what it adds to the steps of others (`perf.continuous`). Neuron: the whole prefill, alone.
    Others: its arithmetic (`perf.prefill`).

    Raises:
        ModelRangeError: `input_tokens` lies outside 0 to the model's context, or the deployment is only observed.
    """
    _check_context(deployment, input_tokens)
    law = speed_law(require_accelerator(deployment))
    if law is Law.CONTINUOUS:
        return prompt_estimate(deployment, input_tokens)
    return _neuron(deployment, input_tokens) if law is Law.NEURON else arithmetic_prefill_s(deployment, input_tokens)


def _check_context(deployment: Deployment, tokens: int) -> None:
    require_accelerator(deployment)
    limit = deployment.model.context_tokens
    if not 0 <= tokens <= limit:
        raise ModelRangeError(f"{tokens} tokens lie outside 0 to {limit}, the context of {deployment.model.name!r}")


def _neuron(deployment: Deployment, input_tokens: int) -> Estimate:
    value = neuron_prefill_s(neuron_shape(deployment), neuron_law(deployment), input_tokens) if input_tokens else 0.0
    factor = coefficient(require_accelerator(deployment), "speed_factor")
    rows = (*prefill_rows(deployment), factor)
    return Estimate(value, value / factor.high, value / factor.low, "s", "arithmetic", sources(rows))
