"""SambaNova's reconfigurable dataflow unit: weights in external memory, layers fused on chip.

    pass = W / (n BW u) + layers t_layer + L_moe (k' + shared) t_expert
    speculating, a token takes (pass + d * pass of the draft) / tokens per pass

W are the weight bytes that the batch touches, k' the distinct experts per layer.

It reads its weights like a GPU and pays ten times less a layer, for a pass runs as one fused graph. Only single users
were measured: that a batch touches more experts, and reads more KV, follows from the law and was not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.fleet import Deployment, Model
from headrace.perf.coefficients import Coefficient, coefficient, coefficients_of
from headrace.perf.estimate import Estimate, largest, sources
from headrace.perf.memory import kv_bytes_per_sequence, kv_bytes_per_token, require_accelerator
from headrace.perf.passes import touched_weight_bytes
from headrace.perf.speculation import tabled

ROWS = ("memory_efficiency", "layer_s", "expert_s")
DRAFT_ROWS = ("tokens_per_pass", "draft_parameters", "draft_layers", "draft_tokens")
DRAFT_BYTES = 2


@dataclass(frozen=True, slots=True)
class RduLaw:
    """Coefficients: bandwidth reached of the peak, seconds per layer, seconds per expert applied in a layer."""

    memory_efficiency: float
    layer_s: float
    expert_s: float


@dataclass(frozen=True, slots=True)
class RduDraft:
    """A draft model that runs `tokens` times per checking pass, which yields `tokens_per_pass`."""

    tokens_per_pass: float
    parameters: float
    layers: float
    tokens: float


def distinct_experts(model: Model, batch: float) -> float:
    """Experts of a layer that a batch touches under uniform routing: E (1 - (1 - k / E)^B)."""
    return float(model.experts * (1.0 - (1.0 - model.active_experts / model.experts) ** batch))


def pass_parts(
    model: Model, read_bytes: float, bandwidth_bytes_per_s: float, law: RduLaw, batch: float = 1.0
) -> dict[str, float]:
    """Seconds of one pass by what they are spent on; they add up.

    Args:
        read_bytes: weights and KV that the pass reads.
        bandwidth_bytes_per_s: peak of all accelerators together.
    """
    experts = distinct_experts(model, batch) + model.shared_experts if model.moe_layers else 0.0
    return {
        "weight reads": read_bytes / (bandwidth_bytes_per_s * law.memory_efficiency),
        "layer latency": model.layers * law.layer_s,
        "expert gathers": model.moe_layers * experts * law.expert_s,
    }


def token_s(pass_s: float, bandwidth_bytes_per_s: float, law: RduLaw, draft: RduDraft | None) -> float:
    """Seconds per token: a pass, or with a draft (pass + d * draft's pass) / tokens per pass."""
    if draft is None:
        return pass_s
    read_s = draft.parameters * DRAFT_BYTES / (bandwidth_bytes_per_s * law.memory_efficiency)
    return (pass_s + draft.tokens * (read_s + draft.layers * law.layer_s)) / draft.tokens_per_pass


def rdu_step_s(deployment: Deployment, batch: int, context_tokens: float) -> Estimate:
    """Seconds per token of `batch` sequences of `context_tokens` each; interval as in `perf.dataflow`."""
    chip, model = require_accelerator(deployment), deployment.model
    law, bandwidth = _law(deployment), _bandwidth(deployment)
    kv_bits = coefficient(chip, "kv_bits").value
    kv = batch * (context_tokens * kv_bytes_per_token(model, kv_bits) + kv_bytes_per_sequence(model, kv_bits))
    parts = pass_parts(model, touched_weight_bytes(deployment, batch) + kv, bandwidth, law, batch)
    value = token_s(sum(parts.values()), bandwidth, law, rdu_draft(deployment))
    factor = coefficient(chip, "speed_factor", deployment.release)
    rows = (*_rows(deployment, ROWS).values(), factor)
    return Estimate(value, value / factor.high, value / factor.low, "s", largest(parts), sources(rows))


def kv_s_per_token(deployment: Deployment) -> float:
    """Seconds that one context token of one sequence adds to a token's time."""
    per_token = kv_bytes_per_token(deployment.model, coefficient(require_accelerator(deployment), "kv_bits").value)
    draft = rdu_draft(deployment)
    rate = _bandwidth(deployment) * _law(deployment).memory_efficiency
    return per_token / rate / (1.0 if draft is None else draft.tokens_per_pass)


def rdu_draft(deployment: Deployment) -> RduDraft | None:
    """The draft model of its speculation; None without."""
    if not tabled(deployment):
        return None
    tokens_per_pass, parameters, layers, tokens = (row.value for row in _rows(deployment, DRAFT_ROWS).values())
    return RduDraft(tokens_per_pass, parameters, layers, tokens)


def _law(deployment: Deployment) -> RduLaw:
    return RduLaw(**{name: row.value for name, row in _rows(deployment, ROWS).items()})


def _bandwidth(deployment: Deployment) -> float:
    return deployment.count * (require_accelerator(deployment).memory_bandwidth_bytes_per_s or 0.0)


def _rows(deployment: Deployment, names: tuple[str, ...]) -> dict[str, Coefficient]:
    return coefficients_of(require_accelerator(deployment), names, deployment.release)
