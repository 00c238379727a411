"""SRAM speed: how long a token takes where the weights stay on chip and tokens flow past them.

Bandwidth explains nothing here: bytes / bandwidth is below 1 % of the published times. What a user sees is a chain of
latencies, so the law is their sum:

    t = t_fixed + [layers t_layer (hidden / 4096)^e + moe_layers t_moe + (chips - 1) t_hop] / gain + t_shared

* A wafer (WSE-3) lays a layer out on a square whose side grows with the hidden size, and its latency is the reduce and
  broadcast along that side: e = 1. A statically scheduled chip (LPU) gives a wider layer more chips: e = 0.
* t_layer falls with software releases (WSE-3: 11.9 us at launch, 4.4 us since 2024-10) and a deployment names its own.
* Speculative decoding checks several drafted tokens in one pass: `gain` is tokens per pass, net of the draft. Where a
  deployment declares its draft, gain = E / (1 + k c) (see `speculation`), and a user takes k + 1 of its places.
* t_shared is what a third party measures on a shared endpoint beyond the vendor's own figure; a deployment is predicted
  with it, and its interval reaches the figure without.

Chips that nobody has measured (Groq 3 LPU, Corsair, chips that do not exist) follow the same sum with a latency per
layer assumed from a relative, and an interval that is as wide as that guess.

What limits users is KV: it lies in the same SRAM as the weights. Up to the pipeline's depth users cost no speed; beyond
it they share. No public measurement of speed against load exists for SRAM silicon, so both are bounds and no fit.

The interval is that of published over predicted speeds of rows that the fit had not seen, `speed_factor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, Model, Speculation
from headrace.perf.coefficients import Coefficient, coefficient, coefficients_of
from headrace.perf.estimate import Estimate, largest, sources
from headrace.perf.memory import memory_fit, require_accelerator
from headrace.perf.speculation import gain

REFERENCE_HIDDEN_SIZE = 4096.0
ROWS = ("token_fixed_s", "layer_s", "layer_width_exponent", "moe_layer_extra_s", "hop_s", "shared_tier_s")


@dataclass(frozen=True, slots=True)
class SramLaw:
    """The coefficients of one chip and release.

    Attributes:
        token_fixed_s: seconds per token, whatever the model.
        layer_s: seconds per layer at hidden size 4,096.
        layer_width_exponent: power of hidden size / 4,096.
        moe_layer_extra_s: seconds per layer with routed experts, on top of `layer_s`.
        hop_s: seconds per boundary between chips.
        shared_tier_s: seconds per token that a shared endpoint adds.
        speculation_gain: tokens per pass, net of the draft's time; 1 without speculation.
    """

    token_fixed_s: float
    layer_s: float
    layer_width_exponent: float
    moe_layer_extra_s: float
    hop_s: float
    shared_tier_s: float
    speculation_gain: float = 1.0


def layers_s(model: Model, law: SramLaw) -> float:
    """Seconds that a pass spends in layers: L t_layer (h / 4096)^e + L_moe t_moe."""
    width = float((model.hidden_size / REFERENCE_HIDDEN_SIZE) ** law.layer_width_exponent)
    return model.layers * law.layer_s * width + model.moe_layers * law.moe_layer_extra_s


def hops_s(chips: float, law: SramLaw) -> float:
    """Seconds that a pass spends between chips or wafers: (n - 1) t_hop."""
    return (chips - 1.0) * law.hop_s


def token_parts(model: Model, chips: float, law: SramLaw) -> dict[str, float]:
    """Seconds of one token of one user by what they are spent on; they add up.

    Args:
        chips: accelerators that the model is spread over.
    """
    return {
        "layer latency": layers_s(model, law) / law.speculation_gain,
        "hops": hops_s(chips, law) / law.speculation_gain,
        "fixed time": law.token_fixed_s,
        "shared tier": law.shared_tier_s,
    }


def token_s(model: Model, chips: float, law: SramLaw) -> float:
    """Seconds per token of one user: the sum of `token_parts`."""
    return sum(token_parts(model, chips, law).values())


def sram_law(deployment: Deployment) -> SramLaw:
    """The coefficients of the deployment's chip, as of its release.

    Raises:
        ModelRangeError: the chip lacks one of them, or the deployment speculates and nothing is known of that there.
    """
    values = {name: row.value for name, row in _rows(deployment).items()}
    if isinstance(deployment.speculation, Speculation):
        values["speculation_gain"] = gain(deployment.speculation)
    return SramLaw(**values)


def pipeline_depth(deployment: Deployment) -> int:
    """Sequences that an SRAM pipeline serves at full speed: layers * stages per layer / tokens of one in a pass."""
    return _depth(deployment, coefficient(require_accelerator(deployment), "stages_per_layer").value)


def sram_step_s(deployment: Deployment, users: int) -> Estimate:
    """Seconds per token of each of `users`: `token_s` up to the pipeline's depth, then times users / depth.

    Interval: token time / `speed_factor`, the pipeline's depth at its good and at its bad end.
    """
    chip = require_accelerator(deployment)
    rows, stages = _rows(deployment), coefficient(chip, "stages_per_layer")
    factor = coefficient(chip, "speed_factor", deployment.release)
    parts = token_parts(deployment.model, deployment.count, sram_law(deployment))
    total_s = sum(parts.values())
    crowd = [max(1.0, users / _depth(deployment, value)) for value in (stages.value, stages.high, stages.low)]
    why = "users share the pipeline" if crowd[0] > 1.0 else largest(parts)
    own_s = total_s - parts["shared tier"]
    low_s, high_s = own_s / factor.high * crowd[1], total_s / factor.low * crowd[2]
    return Estimate(total_s * crowd[0], low_s, high_s, "s", why, sources((*rows.values(), stages, factor)))


def user_tokens_per_s(deployment: Deployment, users: int, context_tokens: int) -> Estimate:
    """Tokens/s of each of `users` who hold `context_tokens` each: 1 / `sram_step_s`.

    Raises:
        ModelRangeError: the model does not fit, or the KV of so many users does not: the message says how many fit.
    """
    room = users_that_fit(deployment, context_tokens)
    if not 1 <= users <= room:
        raise ModelRangeError(
            f"deployment {deployment.name!r}: {users} users of {context_tokens} tokens; KV room is for 1 to {room}"
        )
    step = sram_step_s(deployment, users)
    why = "capacity" if users == room and step.why != "users share the pipeline" else step.why
    return Estimate(1.0 / step.value, 1.0 / step.high, 1.0 / step.low, "tokens/s", why, step.source)


def users_that_fit(deployment: Deployment, context_tokens: int) -> int:
    """Users whose KV of `context_tokens` fits beside the weights, at most `max_batch`; 0: the model does not fit."""
    fit = memory_fit(deployment)
    if not fit.fits:
        return 0
    return min(deployment.max_batch, fit.kv_capacity_tokens // max(1, context_tokens))


def _depth(deployment: Deployment, stages_per_layer: float) -> int:
    tokens = 1 + deployment.speculation.draft_tokens if isinstance(deployment.speculation, Speculation) else 1
    return max(1, round(deployment.model.layers * stages_per_layer / tokens))


def _rows(deployment: Deployment) -> Mapping[str, Coefficient]:
    names = (*ROWS, "speculation_gain") if deployment.speculation is True else ROWS
    return coefficients_of(require_accelerator(deployment), names, deployment.release)
