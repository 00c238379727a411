"""llama.cpp's server."""

from __future__ import annotations

from headrace.wire.dialects.dialect import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    Auth,
    Continuation,
    Dialect,
    ErrorRow,
    Signals,
)
from headrace.wire.error_kind import ErrorKind

SERVER = "llama.cpp server in llama_cpp_python 0.3.36"
TRIED = "tried on xllamacpp 2026.10"

LLAMA_CPP = Dialect(
    name="llama.cpp",
    title="llama.cpp",
    auth=(Auth.BEARER, Auth.NONE),
    paths={
        "chat": CHAT,
        "completions": COMPLETIONS,
        "messages": MESSAGES,
        "embeddings": EMBEDDINGS,
    },
    reasoning=("reasoning_content",),
    extensions=frozenset(("reasoning_format", "cache_prompt", "top_k", "min_p", "chat_template_kwargs")),
    errors=(
        ErrorRow(ErrorKind.OVERLOADED, 503, SERVER, "unavailable_error", 503, "Loading model"),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            400,
            SERVER,
            "exceed_context_size_error",
            400,
            "the request exceeds the available context size, try increasing it",
        ),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, SERVER, "invalid_request_error", 400, "'messages' is required"),
        ErrorRow(ErrorKind.MISCONFIGURED, 401, SERVER, "authentication_error", 401, "Invalid API Key"),
        ErrorRow(ErrorKind.MISCONFIGURED, 403, SERVER, "permission_error", 403, "not allowed"),
        ErrorRow(ErrorKind.MISCONFIGURED, 404, SERVER, "not_found_error", 404, "File Not Found"),
        ErrorRow(
            ErrorKind.BAD_REQUEST,
            501,
            SERVER,
            "not_supported_error",
            501,
            "This server does not support embeddings. Start it with `--embeddings`",
        ),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, SERVER, "server_error", 500, "Compute error."),
    ),
    continuation=Continuation.TRAILING_ASSISTANT,
    may_repeat=False,
    signals=(
        Signals(
            "/metrics",
            SERVER,
            queued="llamacpp:requests_deferred",
            running="llamacpp:requests_processing",
            needs="--metrics",
        ),
    ),
    notes=(
        f"It answers whatever model is asked for ({TRIED}).",
        f"`n` gives as many choices, though its README does not list it; usage counts one of them ({TRIED}).",
        f"The last chunk carries `timings` ({SERVER}).",
        f"`error.code` is a number, on a 404 too ({SERVER}).",
        f"A last assistant message is continued; two of them, or one with tool calls, are an error ({SERVER}).",
        "Its Responses streams have no `output_index` and `content_index`, without which openai's `responses.stream()` "
        f"fails: so Responses is translated for it ({TRIED}, openai 3.57.0).",
        "Tools need --jinja (" + SERVER + "); without a template that has them, tool_choice is ignored (tried).",
    ),
    sources={
        "auth": SERVER,
        "paths": SERVER,
        "usage": SERVER,
        "cached_tokens": SERVER,
        "error_shape": SERVER,
        "stream_error": SERVER,
        "reasoning": SERVER,
        "extensions": SERVER + "; cache_prompt and the sampling fields: recalled",
        "continuation": SERVER,
        "may_repeat": SERVER,
        "done_marker": SERVER,
    },
)
