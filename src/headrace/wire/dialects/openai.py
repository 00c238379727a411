"""OpenAI, and what calls itself compatible with it."""

from __future__ import annotations

from headrace.wire.dialects.dialect import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Auth,
    Dialect,
    ErrorRow,
    Parameter,
    RateLimits,
    ResetEncoding,
    SchemaSubset,
    StreamError,
    Treatment,
)
from headrace.wire.error_kind import ErrorKind

SDK = "openai 3.54.0"
SPEC = "openai-openapi f85dbe2"
RECALLED = "recalled"

STRICT_SCHEMA = frozenset(("allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else"))

COMPATIBLE = Dialect(
    name="openai-compatible",
    title="any OpenAI-compatible server",
    auth=(Auth.BEARER, Auth.NONE),
    paths={
        "chat": CHAT,
        "completions": COMPLETIONS,
        "responses": RESPONSES,
        "messages": MESSAGES,
        "embeddings": EMBEDDINGS,
    },
    notes=("Nothing is renamed, dropped or refused; every error shape is understood.",),
    sources={"paths": "which of them are there, `headrace check --live` says"},
)

OPENAI = Dialect(
    name="openai",
    title="OpenAI",
    hosts=("api.openai.com", "*.api.openai.com"),
    paths={"chat": CHAT, "completions": COMPLETIONS, "responses": RESPONSES, "embeddings": EMBEDDINGS},
    parameters=(
        Parameter("max_tokens", Treatment.RENAME, SDK, "o-series models refuse it", renamed="max_completion_tokens"),
    ),
    json_schema=SchemaSubset(RECALLED, closed_objects=True, all_required=True, refused=STRICT_SCHEMA),
    reasoning=(),
    custom_tools=True,
    developer_role=True,
    stream_error=StreamError.WRAPPED_EVENT,
    errors=(
        ErrorRow(
            ErrorKind.QUOTA, 429, SPEC, "requests", "rate_limit_exceeded", "Rate limit reached for requests per min"
        ),
        ErrorRow(
            ErrorKind.MISCONFIGURED,
            429,
            RECALLED,
            "insufficient_quota",
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details",
        ),
        ErrorRow(
            ErrorKind.OVERLOADED, 503, RECALLED, "server_error", "slow_down", "The engine is overloaded: slow down"
        ),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            400,
            SPEC,
            "invalid_request_error",
            "context_length_exceeded",
            "This model's maximum context length is 128000 tokens",
        ),
        ErrorRow(ErrorKind.CONTEXT_LENGTH, 413, SPEC, "invalid_request_error", None, "Request body too large"),
        ErrorRow(
            ErrorKind.CONTENT_FILTER,
            400,
            RECALLED,
            "invalid_request_error",
            "content_policy_violation",
            "Your request was rejected by the safety system",
        ),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, SPEC, "invalid_request_error", None, "Invalid value for 'messages'"),
        ErrorRow(ErrorKind.BAD_REQUEST, 422, SDK, "invalid_request_error", None, "The request could not be processed"),
        ErrorRow(
            ErrorKind.MISCONFIGURED, 401, SPEC, "invalid_request_error", "invalid_api_key", "Incorrect API key provided"
        ),
        ErrorRow(ErrorKind.MISCONFIGURED, 403, SPEC, "invalid_request_error", None, "Country not supported"),
        ErrorRow(
            ErrorKind.MODEL_NOT_FOUND,
            404,
            SPEC,
            "invalid_request_error",
            "model_not_found",
            "The model does not exist or you do not have access to it",
        ),
        ErrorRow(ErrorKind.SERVER_ERROR, 408, SDK, "server_error", None, "Request timeout"),
        ErrorRow(ErrorKind.SERVER_ERROR, 409, SDK, "server_error", None, "Conflict"),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, SPEC, "server_error", None, "The server had an error"),
    ),
    rate_limits=RateLimits(
        ResetEncoding.GO_DURATION,
        "a recorded header probe in public code; the windows are recalled",
        {"requests": "minute", "tokens": "minute", "project-tokens": "minute"},
        (
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
        ),
    ),
    notes=(
        f"Each chunk carries an `obfuscation` string unless `stream_options.include_obfuscation` is false ({SPEC}).",
        f"Responses end with `response.completed`, `.incomplete` or `.failed`; an error is `event: error` ({SPEC}).",
        f"No reasoning text on chat completions; summaries on Responses only ({SPEC}).",
    ),
    sources={
        "auth": SDK,
        "paths": SDK,
        "usage": SPEC,
        "cached_tokens": SPEC,
        "error_shape": SPEC,
        "stream_error": SDK,
        "reasoning": SPEC,
        "custom_tools": SPEC,
        "developer_role": SPEC,
        "continuation": SPEC,
        "done_marker": SDK,
    },
)
