"""One question for every kind of silicon: what does a client of a closed loop see?

`concurrency` clients each send their next request when the last one is answered. External-memory chips answer by
`perf.continuous`; chips with a law of their own (SRAM, Neuron, SN40L) decode by it, and prompts queue for prefill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment
from headrace.perf.continuous import Load, ServedEstimate, Split, served_estimates
from headrace.perf.curve import speed_curve
from headrace.perf.decode import decode_step_s, prefill_s
from headrace.perf.estimate import Estimate
from headrace.perf.law import Law, speed_law
from headrace.perf.memory import require_accelerator


class Place(NamedTuple):
    """Where clients are served: one replica of `deployment`, or its decode replicas and those that prefill for them."""

    deployment: Deployment
    split: Split | None = None

    @property
    def accelerators(self) -> int:
        """Of all replicas together."""
        count, split = self.deployment.count, self.split
        return count if split is None else split.decode_replicas * count + split.prefill_replicas * split.prefill_count


def closed_loop(place: Place | Deployment, loads: Sequence[Load]) -> list[ServedEstimate]:
    """TTFT, TPOT and batch of one place under each load; a deployment alone is one replica of it.

    Raises:
        ModelRangeError: the deployment is known by observation only, its model does not fit, a load is out of range, or
            prefill is split off on a chip with a law of its own.
    """
    deployment, split = place if isinstance(place, Place) else Place(place)
    chip = require_accelerator(deployment)
    if speed_law(chip) is Law.CONTINUOUS:
        return served_estimates([(deployment, load, split) for load in loads])
    if split is not None:
        raise ModelRangeError(
            f"deployment {deployment.name!r}: prefill apart from decode is not known on {chip.name!r}"
        )
    return [_own_law(deployment, load) for load in loads]


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
