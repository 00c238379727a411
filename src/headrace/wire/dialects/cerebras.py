"""Cerebras: flat errors, quota that is reserved when a request is admitted, status inside the stream's error."""

from __future__ import annotations

from headrace.wire.dialects.dialect import (
    CHAT,
    COMPLETIONS,
    Continuation,
    Dialect,
    ErrorRow,
    ErrorShape,
    Parameter,
    RateLimits,
    Reservation,
    ResetEncoding,
    StreamError,
    Treatment,
    Usage,
)
from headrace.wire.error_kind import ErrorKind

SDK = "cerebras_cloud_sdk 1.91.0"
SEEN = "bodies seen in public code"

CEREBRAS = Dialect(
    name="cerebras",
    title="Cerebras",
    hosts=("api.cerebras.ai",),
    paths={"chat": CHAT, "completions": COMPLETIONS},
    parameters=(
        Parameter("max_tokens", Treatment.RENAME, SDK, "the preferred name", renamed="max_completion_tokens"),
        Parameter("metadata", Treatment.DROP, SDK, "it is not in its schema"),
        Parameter("store", Treatment.DROP, SDK, "it is not in its schema", harmless=(b"null", b"false")),
        Parameter("safety_identifier", Treatment.DROP, SDK, "it is not in its schema"),
        Parameter(
            "service_tier",
            Treatment.DROP,
            SDK,
            "it has no such tier",
            passed=(b'"auto"', b'"default"', b'"flex"', b'"priority"'),
        ),
        Parameter(
            "reasoning_effort",
            Treatment.REPLACE,
            SDK,
            "it knows none, low, medium and high",
            values={b'"minimal"': b'"low"', b'"xhigh"': b'"high"', b'"max"': b'"high"'},
        ),
    ),
    reasoning=("reasoning",),
    developer_role=True,
    usage=(Usage.LAST_CHUNK, Usage.EXTRA_CHUNK),
    error_shape=ErrorShape.FLAT,
    stream_error=StreamError.WITH_STATUS,
    errors=(
        ErrorRow(
            ErrorKind.OVERLOADED,
            429,
            SEEN,
            "too_many_requests_error",
            "queue_exceeded",
            "We're experiencing high traffic right now! Please try again soon.",
        ),
        ErrorRow(
            ErrorKind.QUOTA,
            429,
            SEEN,
            "too_many_requests_error",
            "request_quota_exceeded",
            "Requests per minute limit exceeded - too many requests sent.",
        ),
        ErrorRow(
            ErrorKind.QUOTA,
            429,
            "recalled",
            "too_many_tokens_error",
            "token_quota_exceeded",
            "Tokens per minute limit exceeded - too many tokens processed.",
        ),
        ErrorRow(ErrorKind.OVERLOADED, 503, SDK, "server_error", None, "Service unavailable"),
        ErrorRow(ErrorKind.MISCONFIGURED, 402, SDK, "payment_required_error", None, "Payment required"),
        ErrorRow(ErrorKind.MISCONFIGURED, 401, SEEN, "invalid_request_error", "wrong_api_key", "Wrong API Key"),
        ErrorRow(ErrorKind.CONTEXT_LENGTH, 413, SDK, "invalid_request_error", None, "Request entity too large"),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            400,
            SEEN,
            "invalid_request_error",
            "context_length_exceeded",
            "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
        ),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, SEEN, "invalid_request_error", "wrong_api_format", "Invalid request"),
        ErrorRow(ErrorKind.BAD_REQUEST, 422, SDK, "invalid_request_error", None, "Unprocessable entity"),
        ErrorRow(
            ErrorKind.MODEL_NOT_FOUND,
            404,
            SEEN,
            "not_found_error",
            "model_not_found",
            "Model does not exist or you do not have access to it.",
        ),
        ErrorRow(ErrorKind.SERVER_ERROR, 408, SDK, "server_error", None, "Request timeout"),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, SDK, "server_error", None, "Encountered a server error"),
        ErrorRow(ErrorKind.SERVER_ERROR, 502, SDK, "server_error", None, "Bad gateway"),
    ),
    rate_limits=RateLimits(
        ResetEncoding.SECONDS,
        "inference-docs.cerebras.ai/support/rate-limits",
        headers=tuple(
            f"x-ratelimit-{figure}-{of}"
            for of in ("requests-day", "tokens-minute")
            for figure in ("limit", "remaining", "reset")
        ),
    ),
    reservation=Reservation(
        "inference-docs.cerebras.ai/support/rate-limits; the ceiling: anomalyco/opencode#5036, cline/cline#7881",
        output_ceiling=True,
        assumed_output_tokens=16_384,
        cached_count=True,
    ),
    continuation=Continuation.RAW_PROMPT,
    notes=(
        f"The last chunk carries `time_info` with queue, prompt and completion seconds ({SDK}).",
        "`frequency_penalty`, `presence_penalty`, `logit_bias`, `parallel_tool_calls`: in its SDK, 400 in guides; "
        f"passed. What a model takes is in `supported_parameters` of /public/v1/models/ID, which needs no key ({SDK}).",
        f"`reasoning_effort` on a model other than gpt-oss was seen refused with `wrong_api_format` ({SEEN}).",
        "Its SDK calls GET /v1/tcp_warming first, and reads a chunk without a `system_fingerprint` as the wrong type.",
    ),
    sources={
        "auth": SDK,
        "paths": SDK,
        "usage": SDK,
        "cached_tokens": SDK,
        "error_shape": "nminaya/grammar-nazi-bot#958; " + SDK,
        "stream_error": SDK + " (ErrorChunkResponse)",
        "reasoning": SDK,
        "developer_role": "inference-docs.cerebras.ai/resources/openai.md",
        "continuation": SDK + " (completions take text or token ids); chat prefill is not documented",
        "done_marker": SDK,
    },
)
