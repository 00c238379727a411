"""Conservation: no result implies more FLOPs, bytes, KV bytes or watts per second than the silicon has (law 11).

A simulator can be wrong and plausible: a slot counted twice, a chunk of prefill that costs nothing, and eight chips
serve a load that needs sixteen times their arithmetic, with every SLO met. So every result is held against what it
must have cost at the very least, whatever served it:

    FLOPs    2 P (input + output)              a token passes every active parameter once: a multiply and an add
    bytes    output W(B) / B                   B at most share a step, and a step reads the weights that it touches
    KV       tokens held at once               at most what fits beside the weights
    power    as drawn                          at most what the chips take

Each is a lower bound (attention, KV reads and activations come on top), so a violation is a proof, and its absence is
none. Tokens found in a prefix cache are not computed again and do not count as input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from headrace.errors import InvariantError
from headrace.fleet import Deployment
from headrace.perf.memory import memory_fit, require_accelerator
from headrace.perf.passes import FLOPS_PER_PARAMETER, touched_weight_bytes

SLACK = 1e-9  # rounding of sums


@dataclass(frozen=True, slots=True)
class Claim:
    """What a result says that one deployment did.

    Attributes:
        busy_s: seconds in which its replicas worked, summed over replicas.
        input_tokens: prefilled; those found in a cache not counted.
        kv_tokens: context tokens that one replica held at once, at most; None: not known.
        power_w: power that one busy replica drew; None: not known.
        tokens_per_pass: output tokens that a sequence gets of one pass over the weights; above 1 with speculation.
    """

    deployment: Deployment
    busy_s: float
    input_tokens: float
    output_tokens: float
    kv_tokens: float | None = None
    power_w: float | None = None
    tokens_per_pass: float = 1.0


@dataclass(frozen=True, slots=True)
class Violation:
    """`needed` exceeds `available`, both of `resource` and in its unit."""

    deployment: str
    resource: str
    needed: float
    available: float

    def __str__(self) -> str:
        times = f"{self.needed / self.available:.3g} times" if self.available > 0.0 else "more than"
        return (
            f"deployment {self.deployment!r}: the result needs {self.needed:.4g} {self.resource}, "
            f"{times} the {self.available:.4g} that the silicon has"
        )


def violations(claim: Claim) -> tuple[Violation, ...]:
    """What the claim implies beyond the silicon.

    Raises:
        ModelRangeError: the deployment is known by observation only, so nothing is known of its silicon.
    """
    bounds = [("FLOPs", *_flops(claim)), ("bytes read", *_bytes(claim))]
    if claim.kv_tokens is not None:
        bounds.append(("KV tokens", claim.kv_tokens, float(memory_fit(claim.deployment).kv_capacity_tokens)))
    power_w = require_accelerator(claim.deployment).power_w
    if claim.power_w is not None and power_w is not None:
        bounds.append(("W", claim.power_w, claim.deployment.count * power_w))
    name = claim.deployment.name
    return tuple(Violation(name, *bound) for bound in bounds if bound[1] > bound[2] * (1.0 + SLACK))


def check_conservation(claims: Iterable[Claim]) -> None:
    """Hold claims against their silicon.

    Raises:
        InvariantError: at least one of them implies more than there is; the message says what and how much.
    """
    found = [str(violation) for claim in claims for violation in violations(claim)]
    if found:
        raise InvariantError("\n".join(["this result breaks conservation:", *found]))


def _flops(claim: Claim) -> tuple[float, float]:
    """(needed, available) FLOPs, at the fastest arithmetic that the chip has."""
    chip, deployment = require_accelerator(claim.deployment), claim.deployment
    peaks = [flops for flops in (chip.flops_bf16, chip.flops_fp8, chip.flops_fp4) if flops is not None]
    needed = FLOPS_PER_PARAMETER * deployment.model.active_parameters * (claim.input_tokens + claim.output_tokens)
    return needed, deployment.count * max(peaks, default=inf) * claim.busy_s


def _bytes(claim: Claim) -> tuple[float, float]:
    """(needed, available) weight bytes read in decode: fewest per token at the largest batch."""
    chip, deployment = require_accelerator(claim.deployment), claim.deployment
    per_token = touched_weight_bytes(deployment, deployment.max_batch) / deployment.max_batch
    needed = claim.output_tokens / claim.tokens_per_pass * per_token
    bandwidth = chip.memory_bandwidth_bytes_per_s
    return needed, deployment.count * (inf if bandwidth is None else bandwidth) * claim.busy_s
