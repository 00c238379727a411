"""A request as traces and generators describe it: when it comes, what it asks for, and how long its answer is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """One client call of a workload.

    `output_tokens` is what the model will produce: model servers and reports may read it, decisions may not.

    Attributes:
        arrival_s: seconds after the start of the workload.
        workload_class: name of the class it belongs to.
        input_tokens: tokens sent to the model, at least 1.
        output_tokens: tokens that the model will produce, at least 0.
        model: the model name that the client asks for; None means the fleet's only model.
        tenant: who is billed and limited.
        max_output_tokens: the client's own ceiling, when it sends one.
    """

    arrival_s: float
    workload_class: str
    input_tokens: int
    output_tokens: int
    model: str | None = None
    tenant: str = "default"
    max_output_tokens: int | None = None
