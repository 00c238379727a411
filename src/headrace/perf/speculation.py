"""Speculative decoding: a draft proposes k tokens, and one pass over the weights checks all of them.

    tokens per pass = 1 + a + ... + a^k = (1 - a^(k + 1)) / (1 - a)
    time of a pass  = step(k + 1 tokens of each sequence) + k c step

a: chance that a drafted token is accepted, c: time of a draft step over that of a decode step. A pass reads the dense
weights and the KV cache once and does the arithmetic of k + 1 tokens, so a small batch gains most; a mixture of experts
also reads the experts that the drafted tokens ask for, and gains less. Without it GPUs look slower than they are
deployed, and SRAM wins where it should not.

What is left out: the memory of the draft's own weights and KV cache, and that acceptance falls within a pass. Public
points of models that ship a draft head (`mtp_layers`) do not say whether it was used: a draft declared for one of them
may count twice.

Source: Leviathan et al., Fast Inference from Transformers via Speculative Decoding, ICML 2023, arXiv 2211.17192.
"""

from __future__ import annotations

from math import expm1, log1p

from headrace.errors import ModelRangeError
from headrace.fleet import Deployment, Speculation


def tokens_per_pass(acceptance: float, draft_tokens: float) -> float:
    """Tokens that a sequence gets of one checking pass: (1 - a^(k + 1)) / (1 - a); k + 1 when a is 1."""
    refusal = 1.0 - acceptance
    if draft_tokens == 0 or refusal >= 1.0:
        return 1.0
    if refusal <= 0.0:
        return 1.0 + draft_tokens
    return -expm1((draft_tokens + 1.0) * log1p(-refusal)) / refusal


def gain(speculation: Speculation) -> float:
    """Tokens per pass net of the draft's time, where k + 1 tokens pass as fast as one: E / (1 + k c)."""
    tokens = tokens_per_pass(speculation.acceptance, speculation.draft_tokens)
    return tokens / (1.0 + speculation.draft_tokens * speculation.draft_cost)


def declared(deployment: Deployment) -> Speculation | None:
    """The speculation of a chip for which no table knows what it brings; None without.

    Raises:
        ModelRangeError: the deployment says `true` and leaves the figures to a table.
    """
    found = deployment.speculation
    if isinstance(found, Speculation):
        return found
    if found:
        raise ModelRangeError(
            f"deployment {deployment.name!r}: what speculation brings on {_chip(deployment)} is not known; declare its "
            "acceptance, draft_tokens and draft_cost"
        )
    return None


def declared_tokens_per_pass(deployment: Deployment) -> float:
    """Tokens per pass of the speculation that `declared` finds; 1 without."""
    draft = declared(deployment)
    return 1.0 if draft is None else tokens_per_pass(draft.acceptance, draft.draft_tokens)


def tabled(deployment: Deployment) -> bool:
    """Whether the deployment speculates, on a chip whose coefficients hold a draft of their own.

    Raises:
        ModelRangeError: the deployment declares another draft.
    """
    if isinstance(deployment.speculation, Speculation):
        raise ModelRangeError(
            f"deployment {deployment.name!r}: speculation on {_chip(deployment)} is known with the draft that was "
            "measured only; say speculation = true"
        )
    return deployment.speculation


def _chip(deployment: Deployment) -> str:
    return repr("" if deployment.accelerator is None else deployment.accelerator.name)
