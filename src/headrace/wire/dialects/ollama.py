"""Ollama, by its OpenAI-compatible endpoints."""

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
    Parameter,
    Signals,
    Treatment,
)
from headrace.wire.error_kind import ErrorKind

SOURCE = "ollama fb30760"
DOCS = SOURCE + " (docs/api/openai-compatibility.mdx)"

OLLAMA = Dialect(
    name="ollama",
    title="Ollama",
    auth=(Auth.NONE, Auth.BEARER),
    paths={
        "chat": CHAT,
        "completions": COMPLETIONS,
        "responses": RESPONSES,
        "messages": MESSAGES,
        "embeddings": EMBEDDINGS,
    },
    parameters=(
        Parameter("max_completion_tokens", Treatment.RENAME, DOCS, "it is called max_tokens", renamed="max_tokens"),
        Parameter("n", Treatment.REFUSE, DOCS, "it gives one choice only", harmless=(b"null", b"1")),
        Parameter("logit_bias", Treatment.REFUSE, DOCS, "it cannot bias tokens", harmless=(b"null", b"{}")),
        Parameter("tool_choice", Treatment.REFUSE, DOCS, "it does not choose tools", harmless=(b"null", b'"auto"')),
        Parameter("user", Treatment.DROP, DOCS, "it has no users"),
        Parameter("parallel_tool_calls", Treatment.DROP, DOCS, "it is not listed", harmless=(b"null", b"true")),
        Parameter("service_tier", Treatment.DROP, DOCS, "it has no tiers", harmless=(b"null", b'"auto"', b'"default"')),
        Parameter(
            "reasoning_effort",
            Treatment.REPLACE,
            SOURCE,
            "it knows none, low, medium, high and max",
            values={b'"minimal"': b'"low"', b'"xhigh"': b'"high"'},
        ),
    ),
    reasoning=("reasoning",),
    cached_tokens=None,
    errors=(
        ErrorRow(
            ErrorKind.OVERLOADED,
            503,
            SOURCE,
            "api_error",
            None,
            "server busy, please try again.  maximum pending requests exceeded",
        ),
        ErrorRow(ErrorKind.QUOTA, 429, SOURCE, "api_error", None, "you have reached your hourly usage limit"),
        ErrorRow(
            ErrorKind.MODEL_NOT_FOUND, 404, SOURCE, "not_found_error", None, 'model "m" not found, try pulling it first'
        ),
        ErrorRow(ErrorKind.BAD_REQUEST, 400, SOURCE, "invalid_request_error", None, "[] is too short - 'messages'"),
        ErrorRow(
            ErrorKind.CONTEXT_LENGTH,
            400,
            SOURCE,
            "invalid_request_error",
            None,
            "the input length exceeds the context length",
        ),
        ErrorRow(ErrorKind.SERVER_ERROR, 500, SOURCE, "api_error", None, "llama runner process has terminated"),
        ErrorRow(ErrorKind.SERVER_ERROR, 502, SOURCE, "api_error", None, "bad gateway"),
    ),
    continuation=Continuation.TRAILING_ASSISTANT,
    signals=(Signals("/api/ps", SOURCE),),
    notes=(
        f'Its native API answers errors as {{"error": "text"}} and streams NDJSON ({SOURCE}).',
        f"`logprobs`: the documents say no, the code has the field; passed ({SOURCE}).",
        f"Which models continue a trailing assistant message depends on their renderer ({SOURCE}).",
    ),
    sources={
        "auth": DOCS,
        "paths": SOURCE + " (server/routes.go)",
        "usage": SOURCE + " (middleware/openai.go)",
        "cached_tokens": SOURCE,
        "error_shape": SOURCE,
        "stream_error": SOURCE,
        "reasoning": SOURCE,
        "continuation": SOURCE + " (model/renderers)",
        "done_marker": SOURCE,
    },
)
