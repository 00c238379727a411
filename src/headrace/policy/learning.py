"""What one complete answer teaches: of the backend that gave it, and of how long answers are."""

from __future__ import annotations

from headrace.policy.event import Finished
from headrace.policy.predict import LengthPredictor
from headrace.policy.pricing import MIN_TOKENS_FOR_TPOT
from headrace.policy.state import AttemptState


def learn(now_s: float, attempt: AttemptState, event: Finished, predictor: LengthPredictor) -> None:
    """Correct the backend's failure rate, TPOT and prefix hits, and the predictor."""
    request, backend, output_tokens = attempt.request, attempt.backend, event.output_tokens
    backend.observe_outcome(failed=False)
    if output_tokens is not None:
        if attempt.first_token_s is not None and output_tokens > 1:
            tpot_s = (now_s - attempt.first_token_s) / (output_tokens - 1)
            if output_tokens >= MIN_TOKENS_FOR_TPOT:
                backend.observe_tpot(attempt.tpot_s, tpot_s)
            backend.answered(now_s, attempt.dispatched_s, tpot_s, request.workload_class)
        if output_tokens > 0:  # a refusal (a backend's 4xx) is an answer, but says nothing of how long answers are
            name, tenant, before = request.workload_class.name, request.tenant, request.delivered_tokens
            predictor.observe(name, tenant, request.input_tokens - before, before + output_tokens)
    if request.hits and event.input_tokens is not None:
        backend.observe_hit(request.hits.get(backend.index, 0), event.cached_input_tokens)
