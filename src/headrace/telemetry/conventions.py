"""OpenTelemetry's semantic conventions, as far as they are spoken here: a request's span and those of its attempts.

    POST /v1/chat/completions   SERVER    the request as its client sees it, and what was decided (headrace.*)
    `- chat MODEL               CLIENT    an attempt on a backend: gen_ai.*, with the decision that led to it
    `- chat MODEL               CLIENT    ... a retry, a hedge, a rescue

Prompts and answers are not in them: the conventions leave these to those who opt in, and nobody can here.

Source: OpenTelemetry semantic conventions v1.37.0, docs/gen-ai/gen-ai-spans.md (inference; status: development) and
docs/http/http-spans.md (HTTP server span; stable). What a later version added is not used.
"""

from __future__ import annotations

import re
from typing import Final

from headrace.telemetry.trail import AttemptTrail, Trail

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"
Attribute = str | int | float | bool | tuple[str, ...]

OPERATIONS: Final = {
    "chat": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "messages": "chat",
    "responses": "chat",
}
# Dialects that the conventions have a well-known name for; others go by their own.
PROVIDERS: Final = {"anthropic": "anthropic", "bedrock": "aws.bedrock", "groq": "groq", "vertex": "gcp.vertex_ai"}
NO_ERRORS: Final = frozenset(("completed", "cancelled", "capped"))  # the last goes on with another attempt
HTTP_SERVER_ERROR = 500

_REASON = re.compile(rb'"(?:finish_reason|stop_reason)" ?: ?"([a-z_]+)"')
_STATUS = re.compile(rb'"status" ?: ?"(completed|incomplete|failed)"')
_MODEL = re.compile(rb'"model" ?: ?"([^"\\]{1,200})"')


def request_name(trail: Trail) -> str:
    """Name of a request's span."""
    return f"POST {_path(trail)}"


def attempt_name(trail: Trail) -> str:
    """Name of an attempt's span."""
    return f"{OPERATIONS[trail.api]} {trail.model}"


def request_error(trail: Trail) -> str | None:
    """What went wrong with a request, if that is the server's fault; what its client did wrong is no error of ours."""
    if trail.status >= HTTP_SERVER_ERROR:
        return str(trail.status)
    return trail.outcome if trail.outcome == "failed" else None


def error_of(outcome: str) -> str:
    """What went wrong with an attempt that ended so; empty: nothing, or it was not wanted any more."""
    return "" if outcome in NO_ERRORS else outcome or "_OTHER"


def request_attributes(trail: Trail) -> dict[str, Attribute]:
    """Attributes of a request's span."""
    found: dict[str, Attribute | None] = {
        "http.request.method": "POST",
        "http.route": _path(trail),
        "url.path": _path(trail),
        "url.scheme": "http",
        "http.response.status_code": trail.status or None,
        "error.type": request_error(trail),
        "headrace.request.id": trail.request_id,
        "headrace.tenant": trail.tenant,
        "headrace.class": trail.workload_class,
        "headrace.outcome": trail.outcome,
        "headrace.rejected": trail.rejected or None,
        "headrace.attempts": trail.dispatched,
        "headrace.spent_usd": trail.spent_usd,
        "headrace.time_to_first_token": None if trail.first_token_s is None else trail.first_token_s - trail.arrived_s,
    }
    return _known(found)


def attempt_attributes(trail: Trail, attempt: AttemptTrail) -> dict[str, Attribute]:
    """Attributes of an attempt's span."""
    tokens = attempt.tokens
    found: dict[str, Attribute | None] = {
        "gen_ai.operation.name": OPERATIONS[trail.api],
        "gen_ai.provider.name": PROVIDERS.get(attempt.provider, attempt.provider),
        "gen_ai.request.model": trail.model,
        "gen_ai.request.max_tokens": trail.max_output_tokens,
        "gen_ai.response.model": response_model(attempt.ending),
        "gen_ai.response.finish_reasons": finish_reasons(attempt.ending) or None,
        "gen_ai.usage.input_tokens": None if tokens is None else tokens[0],
        "gen_ai.usage.output_tokens": None if tokens is None else tokens[1],
        "server.address": attempt.address,
        "server.port": attempt.port,
        "error.type": error_of(attempt.outcome) or None,
        "headrace.backend": attempt.backend,
        "headrace.pool": attempt.pool,
        "headrace.outcome": attempt.outcome,
        "headrace.usage.cached_input_tokens": None if tokens is None else tokens[2],
        "headrace.spent_usd": attempt.spent_usd,
    }
    return _known(found | _decision(attempt))


def _decision(attempt: AttemptTrail) -> dict[str, Attribute | None]:
    """Why this backend: the prices that were compared."""
    return {
        "headrace.decision.reason": attempt.reason,
        "headrace.decision.score_usd": attempt.score_usd,
        "headrace.decision.cost_usd": attempt.cost_usd,
        "headrace.decision.outside_score_usd": attempt.outside_score_usd,
        "headrace.decision.expected_output_tokens": attempt.expected_output_tokens,
    }


def _path(trail: Trail) -> str:
    return trail.path.decode("latin-1")


def finish_reasons(ending: bytes) -> tuple[str, ...]:
    """Why an answer ended, one for each choice. They are keys: inside a string their quotes would be escaped."""
    found = _REASON.findall(ending) or _STATUS.findall(ending)[-1:]
    return tuple(reason.decode() for reason in found)


def response_model(ending: bytes) -> str | None:
    """The model that answered, as it calls itself."""
    found = _MODEL.search(ending)
    return None if found is None else found[1].decode("utf-8", "replace")


def _known(found: dict[str, Attribute | None]) -> dict[str, Attribute]:
    return {name: value for name, value in found.items() if value is not None}
