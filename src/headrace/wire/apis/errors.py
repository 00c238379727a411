"""Errors on the wire: every shape in which a backend sends one, and the shapes in which clients get one.

Shapes read: `{"error": {...}}` (OpenAI, Groq, vLLM, llama.cpp), the same flat (Cerebras, SGLang), `{"error": "text"}`
(Ollama), `{"type": "error", "error": {...}}` (Anthropic), `{"type": "error", "message": ...}` and `response.failed`
(Responses). A status inside the body counts where the HTTP status says nothing, as in a stream.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from headrace.errors import HeadraceError
from headrace.wire.body import NOT_JSON, NULL, given
from headrace.wire.canonical import Failed
from headrace.wire.errors import error_body as openai_error_body
from headrace.wire.errors import wire_error

BAD_GATEWAY = 502
BROKEN = "the backend's stream ended before its answer did"
MAX_SHOWN = 500  # characters of a body that is no error in any shape
# Source: Anthropic's error types by status, as its SDK maps them (`_exceptions.py`, `types/shared/error_object.py`).
MESSAGES_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    498: "overloaded_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUS_OF_KIND = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests_error": 429,
    "overloaded_error": 529,
}


class _Error(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
    error: Raw = NULL
    response: Raw = NULL
    status_code: int | None = None


_errors = msgspec.json.Decoder(_Error, strict=False)
_texts = msgspec.json.Decoder(str)


def failure(message: str, status: int = BAD_GATEWAY) -> Failed:
    """A failure that headrace itself found in a backend's answer."""
    return Failed(status, message, "server_error", "backend_error")


def failure_of(error: HeadraceError) -> Failed:
    """An error of headrace as clients see it."""
    row = wire_error(error)
    return Failed(row.status, str(error), row.wire_type, row.code, getattr(error, "param", None))


def read_error(status: int, body: bytes) -> Failed:
    """What a backend's error says, in whatever shape; never raises.

    Args:
        status: HTTP status; 0 inside a stream, where the body may say one.
    """
    found = _decoded(body)
    if found is None:
        text = body[:MAX_SHOWN].decode("utf-8", "replace").strip()
        return Failed(status or BAD_GATEWAY, text or f"the backend answered {status} without a body")
    outer = found
    for _ in range(2):  # `response.failed` wraps twice
        wrapped = given(found.response) or given(found.error)
        found = (_decoded(bytes(wrapped)) if wrapped is not None else None) or found
    kind = found.type if found.type not in (None, "error") else None
    code = None if found.code is None else str(found.code)
    said = _status(outer, found, kind, code)
    message = found.message or body[:MAX_SHOWN].decode("utf-8", "replace")
    return Failed(status or said, message, kind or "server_error", code, found.param)


def _status(outer: _Error, found: _Error, kind: str | None, code: str | None) -> int:
    """The status that an error without one stands for."""
    for number in (outer.status_code, found.status_code, found.code):
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return _STATUS_OF_KIND.get(kind or "") or _STATUS_OF_KIND.get(code or "") or BAD_GATEWAY


def _decoded(body: bytes) -> _Error | None:
    try:
        return _errors.decode(body)
    except NOT_JSON:
        pass
    try:
        return _Error(message=_texts.decode(body))
    except NOT_JSON:
        return None


def error_body(failed: Failed) -> bytes:
    """An error in the shape of OpenAI's APIs."""
    return openai_error_body(failed.message, failed.kind, failed.code, failed.param)


def messages_error_body(failed: Failed) -> bytes:
    """An error in Anthropic's shape, its type from the status; a parameter's name stands in the message."""
    kind = MESSAGES_KINDS.get(failed.status, "api_error" if failed.status >= 500 else "invalid_request_error")
    return msgspec.json.encode(
        {"type": "error", "error": {"type": kind, "message": failed.message}, "request_id": None}
    )
