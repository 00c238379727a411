"""Anthropic: the Messages API."""

from __future__ import annotations

from headrace.wire.dialects.dialect import (
    MESSAGES,
    Auth,
    Continuation,
    Dialect,
    ErrorRow,
    ErrorShape,
    RateLimits,
    ResetEncoding,
    SchemaSubset,
    StreamError,
    Usage,
)
from headrace.wire.error_kind import ErrorKind

SDK = "anthropic 2.12.0"
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength")

ANTHROPIC = Dialect(
    name="anthropic",
    title="Anthropic",
    hosts=("api.anthropic.com",),
    auth=(Auth.X_API_KEY,),
    paths={"messages": MESSAGES},
    json_schema=SchemaSubset(
        "a 400 in agentjido/req_llm#302 (minimum); closed objects: ax-llm/ax#459",
        strict_only=False,
        closed_objects=True,
        refused=frozenset(BOUNDS),
    ),
    reasoning=("thinking_delta",),
    usage=(Usage.MESSAGES_EVENTS,),
    cached_tokens="usage.cache_read_input_tokens",
    cached_inside_input=False,
    error_shape=ErrorShape.ANTHROPIC,
    stream_error=StreamError.ERROR_EVENT,
    done_marker=False,
    errors=(
        ErrorRow(ErrorKind.OVERLOADED, 529, SDK, "overloaded_error", None, "Overloaded"),
        ErrorRow(ErrorKind.QUOTA, 429, SDK, "rate_limit_error", None, "This request would exceed your rate limit"),
        ErrorRow(ErrorKind.MISCONFIGURED, 402, SDK, "billing_error", None, "Your credit balance is too low"),
        ErrorRow(ErrorKind.MISCONFIGURED, 401, SDK, "authentication_error", None, "invalid x-api-key"),
        ErrorRow(ErrorKind.MISCONFIGURED, 403, SDK, "permission_error", None, "Your key may not use this"),
        ErrorRow(ErrorKind.MODEL_NOT_FOUND, 404, SDK, "not_found_error", None, "model: claude-0"),
        ErrorRow(ErrorKind.CONTEXT_LENGTH, 413, SDK, "request_too_large", None, "Request exceeds the maximum size"),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            400,
            "recalled",
            "invalid_request_error",
            None,
            "prompt is too long: 210000 tokens > 200000 maximum",
        ),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, SDK, "invalid_request_error", None, "max_tokens: Field required"),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, SDK, "invalid_request_error", None, "prefill not supported"),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, SDK, "api_error", None, "Internal server error"),
        ErrorRow(ErrorKind.SERVER_ERROR, 504, SDK, "timeout_error", None, "Request timed out"),
        ErrorRow(ErrorKind.SERVER_ERROR, 408, SDK, "timeout_error", None, "Request timeout"),
        ErrorRow(ErrorKind.SERVER_ERROR, 409, SDK, "api_error", None, "Conflict"),
    ),
    rate_limits=RateLimits(
        ResetEncoding.RFC_3339,
        "a recorded reply in tidyllm (CRAN); remaining is rounded to the nearest thousand",
        {"requests": "minute", "tokens": "minute", "input-tokens": "minute", "output-tokens": "minute"},
        tuple(
            f"anthropic-ratelimit-{of}-{figure}"
            for of in ("requests", "input-tokens", "output-tokens")
            for figure in ("limit", "remaining", "reset")
        ),
    ),
    continuation=Continuation.TRAILING_ASSISTANT,
    may_repeat=False,
    notes=(
        "`anthropic-version: 2023-06-01` goes with each request (the value is recalled).",
        f"A trailing assistant message is continued by older models; newer ones answer 400 ({SDK}).",
        f"`max_tokens` is required; `temperature`, `top_p`, `top_k` are no longer in the SDK's parameters ({SDK}).",
        f"429 and 529 move the vendor's own client to its next fallback model ({SDK}).",
    ),
    sources={
        "auth": SDK,
        "paths": SDK,
        "usage": SDK,
        "cached_tokens": SDK,
        "error_shape": SDK,
        "stream_error": SDK,
        "reasoning": SDK,
        "continuation": SDK,
        "may_repeat": SDK,
        "done_marker": SDK,
    },
)
