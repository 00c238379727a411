"""One question for every kind of silicon: what does a client of a closed loop see?

`concurrency` clients each send their next request when the last one is answered. External-memory chips answer by
`perf.continuous`; chips with a law of their own (SRAM, Neuron, SN40L) decode by it, and prompts queue for prefill.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment
from headrace.perf.continuous import Load, ServedEstimate, served_estimates
from headrace.perf.curve import speed_curve
from headrace.perf.decode import decode_step_s, prefill_s
from headrace.perf.estimate import Estimate
from headrace.perf.law import Law, speed_law
from headrace.perf.memory import require_accelerator


def closed_loop(deployment: Deployment, loads: Sequence[Load]) -> list[ServedEstimate]:
    """TTFT, TPOT and batch of one deployment under each load.

    Raises:
        ModelRangeError: the deployment is known by observation only, its model does not fit, or a load is out of range.
    """
    if speed_law(require_accelerator(deployment)) is not Law.CONTINUOUS:
        return [_own_law(deployment, load) for load in loads]
    return served_estimates([(deployment, load, None) for load in loads])


def _own_law(deployment: Deployment, load: Load) -> ServedEstimate:
    """Decode as the chip's own law has it; a prompt waits for half of those that come with it, on average."""
    curve, context = speed_curve(deployment), load.input_tokens + load.output_tokens
    users = round(load.concurrency)
    capacity = curve.kv_capacity_tokens
    if capacity is not None and users * context > capacity:
        raise ModelRangeError(
            f"deployment {deployment.name!r}: {users} users of {context:,} tokens; KV room is for {capacity // context}"
        )
    tpot = decode_step_s(deployment, users, min(context, deployment.model.context_tokens))
    alone = prefill_s(deployment, load.input_tokens)
    decoding_s = load.output_tokens * tpot.value
    busy = min(1.0, users * alone.value / (alone.value + decoding_s))
    waiting = 1.0 + 0.5 * (users - 1) * busy
    overhead_s = curve.ttft_overhead_s
    value, low, high = (overhead_s + waiting * part for part in (alone.value, alone.low, alone.high))
    why = "prefill of others" if waiting > 2.0 else "own prefill" if alone.value > overhead_s else "fixed"
    ttft = Estimate(value, low, high, "s", why, alone.source)
    return ServedEstimate(ttft, tpot, float(users))
