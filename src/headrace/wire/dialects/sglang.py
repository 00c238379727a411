"""SGLang: flat errors over HTTP, wrapped ones inside a stream."""

from __future__ import annotations

from headrace.wire.dialects.dialect import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Auth,
    Continuation,
    Dialect,
    ErrorRow,
    ErrorShape,
    Signals,
)
from headrace.wire.error_kind import ErrorKind

WHEEL = "sglang 0.5.23"

SGLANG = Dialect(
    name="sglang",
    title="SGLang",
    auth=(Auth.BEARER, Auth.NONE),
    paths={
        "chat": CHAT,
        "completions": COMPLETIONS,
        "responses": RESPONSES,
        "messages": MESSAGES,
        "embeddings": EMBEDDINGS,
    },
    reasoning=("reasoning_content",),
    extensions=frozenset(
        (
            *("regex", "ebnf", "separate_reasoning", "stream_reasoning", "return_token_ids", "cache_salt", "extra_key"),
            *("top_k", "min_p", "repetition_penalty", "chat_template_kwargs"),
        )
    ),
    error_shape=ErrorShape.FLAT,
    errors=(
        ErrorRow(ErrorKind.OVERLOADED, 503, WHEEL, "SERVICE_UNAVAILABLE", 503, "The request queue is full."),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            400,
            WHEEL,
            "BadRequestError",
            400,
            "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        ),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, WHEEL, "BadRequestError", 400, "messages must not be empty"),
        ErrorRow(ErrorKind.MISCONFIGURED, 401, WHEEL, None, None, "Unauthorized"),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, WHEEL, "InternalServerError", 500, "Internal server error"),
    ),
    continuation=Continuation.CONTINUE_FLAG,
    may_repeat=False,
    signals=(
        Signals(
            "/v1/loads?include=core,queues",
            WHEEL,
            queued="num_waiting_reqs",
            running="num_running_reqs",
            kv_fraction="token_usage",
        ),
        Signals(
            "/metrics",
            WHEEL,
            queued="sglang:num_queue_reqs",
            running="sglang:num_running_reqs",
            kv_fraction="sglang:token_usage",
            needs="--enable-metrics",
        ),
    ),
    notes=(
        f"The key `reasoning_content` is in every delta, null where there is none ({WHEEL}).",
        f"`finish_reason` may be `abort`: the answer broke ({WHEEL}).",
        f"Cached tokens are said only with --enable-cache-report ({WHEEL}).",
        "Tools need --tool-call-parser (recalled).",
    ),
    sources={
        "auth": WHEEL,
        "paths": WHEEL,
        "usage": WHEEL,
        "cached_tokens": WHEEL,
        "error_shape": WHEEL + " (serving_base.py)",
        "stream_error": WHEEL + " (serving_base.py)",
        "reasoning": WHEEL,
        "extensions": WHEEL + "; the sampling fields and chat_template_kwargs: recalled",
        "continuation": WHEEL,
        "may_repeat": WHEEL,
        "done_marker": WHEEL,
    },
)
