"""What one pass over a model needs of any silicon: the FLOPs of its tokens, and the weights that its batch touches."""

from __future__ import annotations

from headrace.fleet import Deployment
from headrace.perf.memory import weight_bytes

FLOPS_PER_PARAMETER = 2  # a multiply and an add for each active parameter and token


def touched_weight_bytes(deployment: Deployment, batch: int) -> float:
    """Weight bytes that one step of `batch` tokens reads.

    Under uniform routing a batch of B touches E (1 - (1 - k/E)^B) of E experts, k per token, in every layer.
    """
    model = deployment.model
    total = weight_bytes(deployment)
    reached = 1.0 - (1.0 - model.active_experts / model.experts) ** batch
    return total * (1.0 - model.expert_weight_fraction + model.expert_weight_fraction * reached)
