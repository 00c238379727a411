"""Groq: usage in `x_groq`, limits per day and per minute under one pair of names, and a stricter schema of requests."""

from __future__ import annotations

from headrace.wire.dialects.dialect import (
    CHAT,
    EMBEDDINGS,
    RESPONSES,
    Continuation,
    Dialect,
    ErrorRow,
    Parameter,
    RateLimits,
    Reservation,
    ResetEncoding,
    SchemaSubset,
    StreamError,
    Treatment,
    Usage,
)
from headrace.wire.error_kind import ErrorKind

SDK = "groq 1.7.0"
COMPATIBILITY = "console.groq.com/docs/openai"
ERRORS = "console.groq.com/docs/errors"
FLEX = "console.groq.com/docs/flex-processing"
LIMITS = "console.groq.com/docs/rate-limits, quoted in public code"

GROQ = Dialect(
    name="groq",
    title="Groq",
    hosts=("api.groq.com",),
    paths={"chat": CHAT, "responses": RESPONSES, "embeddings": EMBEDDINGS},
    parameters=(
        Parameter("max_tokens", Treatment.RENAME, SDK, "the preferred name", renamed="max_completion_tokens"),
        Parameter("n", Treatment.REFUSE, COMPATIBILITY, "it gives one choice only", harmless=(b"null", b"1")),
        Parameter("logprobs", Treatment.REFUSE, COMPATIBILITY, "it has none", harmless=(b"null", b"false")),
        Parameter("top_logprobs", Treatment.REFUSE, COMPATIBILITY, "it has none", harmless=(b"null", b"0")),
        Parameter("logit_bias", Treatment.REFUSE, COMPATIBILITY, "it cannot bias tokens", harmless=(b"null", b"{}")),
        Parameter("messages[].name", Treatment.DROP, COMPATIBILITY, "it takes no names"),
        Parameter(
            "frequency_penalty", Treatment.DROP, SDK, "no model of it supports it yet", harmless=(b"null", b"0", b"0.0")
        ),
        Parameter(
            "presence_penalty", Treatment.DROP, SDK, "no model of it supports it yet", harmless=(b"null", b"0", b"0.0")
        ),
        Parameter("metadata", Treatment.DROP, SDK, "not currently supported"),
        Parameter("store", Treatment.DROP, SDK, "not currently supported", harmless=(b"null", b"false")),
        Parameter("prompt_cache_key", Treatment.DROP, SDK, "it is not in its schema"),
        Parameter("safety_identifier", Treatment.DROP, SDK, "it is not in its schema"),
        Parameter("prediction", Treatment.DROP, SDK, "it is not in its schema"),
        Parameter(
            "service_tier",
            Treatment.DROP,
            SDK,
            "it has no such tier",
            passed=(b'"auto"', b'"on_demand"', b'"flex"', b'"performance"'),
            harmless=(b"null", b'"default"'),
        ),
        Parameter(
            "reasoning_effort",
            Treatment.REPLACE,
            SDK,
            "it knows none, default, low, medium and high",
            values={b'"minimal"': b'"low"', b'"xhigh"': b'"high"', b'"max"': b'"high"'},
        ),
        Parameter("include_reasoning", Treatment.DROP, SDK, "it excludes reasoning_format", beside="reasoning_format"),
    ),
    max_tools=128,
    json_schema=SchemaSubset("console.groq.com/docs/structured-outputs", closed_objects=True, all_required=True),
    reasoning=("reasoning",),
    usage=(Usage.X_GROQ,),
    stream_error=StreamError.X_GROQ,
    errors=(
        ErrorRow(
            ErrorKind.QUOTA,
            429,
            ERRORS,
            "tokens",
            "rate_limit_exceeded",
            "Rate limit reached for model on tokens per minute (TPM): Limit 6000. Please try again in 7.66s.",
        ),
        ErrorRow(
            ErrorKind.QUOTA, 429, ERRORS, "requests", "rate_limit_exceeded", "Rate limit reached on requests per day"
        ),
        ErrorRow(ErrorKind.OVERLOADED, 498, FLEX, "server_error", "capacity_exceeded", "Flex tier capacity exceeded"),
        ErrorRow(ErrorKind.OVERLOADED, 503, ERRORS, "server_error", None, "Service unavailable"),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            413,
            ERRORS,
            "tokens",
            "rate_limit_exceeded",
            "Request too large for model on tokens per minute (TPM): Limit 6000, Requested 9000",
        ),
        ErrorRow(
            ErrorKind.BAD_REQUEST, 400, COMPATIBILITY, "invalid_request_error", None, "'logprobs' is not supported"
        ),
        ErrorRow(ErrorKind.MISCONFIGURED, 401, ERRORS, "invalid_request_error", "invalid_api_key", "Invalid API Key"),
        ErrorRow(
            ErrorKind.MODEL_NOT_FOUND,
            404,
            ERRORS,
            "invalid_request_error",
            "model_not_found",
            "The model does not exist or you do not have access to it.",
        ),
        ErrorRow(ErrorKind.BAD_REQUEST, 422, ERRORS, "invalid_request_error", None, "Unprocessable entity"),
        ErrorRow(ErrorKind.BAD_REQUEST, 424, ERRORS, "invalid_request_error", None, "Failed dependency"),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, ERRORS, "internal_server_error", None, "Internal Server Error"),
        ErrorRow(ErrorKind.SERVER_ERROR, 502, ERRORS, "internal_server_error", None, "Bad Gateway"),
        ErrorRow(ErrorKind.SERVER_ERROR, 499, ERRORS, "internal_server_error", None, "Request cancelled"),
    ),
    rate_limits=RateLimits(
        ResetEncoding.GO_DURATION,
        LIMITS,
        {"requests": "day", "tokens": "minute"},
        (
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ),
    ),
    reservation=Reservation(LIMITS, cached_count=False),
    continuation=Continuation.TRAILING_ASSISTANT,
    notes=(
        f"`temperature: 0` becomes 1e-8 ({COMPATIBILITY}).",
        f"Usage carries queue, prompt and completion seconds ({SDK}).",
        "Prefilling is documented for text models (console.groq.com/docs/prefilling); with reasoning models it is not.",
        "Structured output together with streaming or tools is restricted on some models.",
    ),
    sources={
        "auth": SDK,
        "paths": SDK + " (embeddings: a resource of the SDK)",
        "max_tools": SDK,
        "usage": SDK,
        "cached_tokens": SDK,
        "error_shape": ERRORS,
        "stream_error": SDK + " (XGroq.error)",
        "reasoning": SDK,
        "continuation": "console.groq.com/docs/prefilling",
        "done_marker": SDK,
    },
)
