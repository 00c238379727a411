"""Work of a request in the unit of a share. `compute` is seconds on the share's reference deployment, uncontended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, Share, ShareUnit
from headrace.perf.curve import speed_curve

if TYPE_CHECKING:  # imported where work is asked for: speed alone needs no metrics
    from headrace.metrics import WorkRate


def work_rate(share: Share) -> WorkRate:
    """What one request counts for in `share`.

    Raises:
        ModelRangeError: the share is of compute and has no reference, or the reference's speed cannot be predicted.
    """
    from headrace.metrics import WorkRate

    if share.of is ShareUnit.REQUESTS:
        return WorkRate(1.0, 0.0, 0.0)
    if share.of is ShareUnit.OUTPUT_TOKENS:
        return WorkRate(0.0, 0.0, 1.0)
    if share.reference is None:
        raise ModelRangeError(f"share {share.name!r} is of compute and names no reference deployment")
    return compute_rate(share.reference)


def compute_rate(reference: Deployment) -> WorkRate:
    """Reference seconds per token.

    Observed: input / input_tokens_per_s + output * tpot_s / batch, `batch` being the sequences that share a step.
    Predicted: prefill seconds per token (its quadratic and its fixed part left out: work is linear in a request), and
    step_s[b] / b at b = max_batch with empty contexts.
    """
    from headrace.metrics import WorkRate

    if reference.observed is not None:
        point = reference.observed
        return WorkRate(0.0, 1.0 / point.input_tokens_per_s, point.tpot_s / point.batch)
    curve = speed_curve(reference)
    return WorkRate(0.0, curve.prefill_s_per_token, curve.step_s[curve.max_batch] / curve.max_batch)
