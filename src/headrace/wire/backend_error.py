"""What a backend's error says, whatever its shape: one reader for every provider, one kind out of eight.

Providers build the same error in six ways (`dialects.ErrorShape`, and a bare string), put it into an HTTP response or
into a 200 stream, and use one status for different things: 429 is a used-up quota, a full queue or an unpaid bill. So
code and type are asked first, then the words of the message where the status leaves it open, then the status. The
tables below are the union of what all providers send; no code means one thing here and another there, so whoever speaks
an unknown dialect is understood too.

Source of each code: the `errors` of the dialects, which are held against this reader one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from headrace.wire.api import ApiName
from headrace.wire.error_kind import ErrorKind
from headrace.wire.errors import error_body, messages_error_body
from headrace.wire.rate_limit import rate_limit_headers, rate_limits, reset_s, retry_after_s
from headrace.wire.usage import event_data

MAX_RETRY_AFTER_S = 3600.0
MAX_MESSAGE_CHARS = 2000
OK = 200
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_AGAIN_IN = re.compile(r"try again in ((?:\d+(?:\.\d+)?(?:h|ms|m|s))+)")

_BY_CODE: dict[str, ErrorKind] = {
    code: kind
    for kind, codes in {
        ErrorKind.OVERLOADED: (
            "queue_exceeded capacity_exceeded overloaded_error overloaded slow_down queueoverflowerror "
            "maxqueuedtokenserror unavailable_error serviceunavailableexception unavailable service_unavailable"
        ),
        ErrorKind.MISCONFIGURED: (
            "insufficient_quota billing_error billing_hard_limit_reached payment_required_error wrong_api_key "
            "invalid_api_key authentication_error permission_error accessdeniedexception unauthenticated "
            "permission_denied unrecognizedclientexception invalidsignatureexception expiredtokenexception"
        ),
        ErrorKind.QUOTA: (
            "request_quota_exceeded token_quota_exceeded too_many_tokens_error rate_limit_exceeded rate_limit_error "
            "throttlingexception resource_exhausted"
        ),
        ErrorKind.CONTEXT_LENGTH: "context_length_exceeded exceed_context_size_error request_too_large",
        ErrorKind.CONTENT_FILTER: "content_filter content_policy_violation responsibleaipolicyviolation",
        ErrorKind.MODEL_NOT_FOUND: "model_not_found resourcenotfoundexception",
        ErrorKind.BAD_REQUEST: "not_supported_error previous_response_not_found",
    }.items()
    for code in codes.split()
}
_BY_STATUS: dict[int, ErrorKind] = {
    401: ErrorKind.MISCONFIGURED,
    402: ErrorKind.MISCONFIGURED,
    403: ErrorKind.MISCONFIGURED,
    404: ErrorKind.MISCONFIGURED,
    405: ErrorKind.MISCONFIGURED,
    407: ErrorKind.MISCONFIGURED,
    408: ErrorKind.SERVER_ERROR,
    409: ErrorKind.SERVER_ERROR,
    413: ErrorKind.CONTEXT_LENGTH,
    429: ErrorKind.QUOTA,
    498: ErrorKind.OVERLOADED,
    499: ErrorKind.SERVER_ERROR,
    501: ErrorKind.BAD_REQUEST,
    503: ErrorKind.OVERLOADED,
    529: ErrorKind.OVERLOADED,
}
_STATUS_OF: dict[ErrorKind, int] = {
    ErrorKind.OVERLOADED: 503,
    ErrorKind.QUOTA: 429,
    ErrorKind.MISCONFIGURED: 401,
    ErrorKind.MODEL_NOT_FOUND: 404,
    ErrorKind.SERVER_ERROR: 500,
    ErrorKind.CONTEXT_LENGTH: 400,
    ErrorKind.BAD_REQUEST: 400,
    ErrorKind.CONTENT_FILTER: 400,
}
_CODE_OF: dict[ErrorKind, str] = {
    ErrorKind.CONTEXT_LENGTH: "context_length_exceeded",
    ErrorKind.CONTENT_FILTER: "content_filter",
    ErrorKind.MODEL_NOT_FOUND: "model_not_found",
}
_OPENAI_TYPE: dict[ErrorKind, str] = {ErrorKind.QUOTA: "rate_limit_error"} | dict.fromkeys(
    (ErrorKind.OVERLOADED, ErrorKind.SERVER_ERROR), "server_error"
)
_ANTHROPIC_TYPE: dict[ErrorKind, str] = {
    ErrorKind.OVERLOADED: "overloaded_error",
    ErrorKind.QUOTA: "rate_limit_error",
    ErrorKind.MISCONFIGURED: "authentication_error",
    ErrorKind.MODEL_NOT_FOUND: "not_found_error",
    ErrorKind.SERVER_ERROR: "api_error",
}
_TOO_LONG = re.compile(
    r"context (?:length|size|window)|(?:prompt|input) is too long|longer than the model|reduce the length"
    r"|maximum number of tokens allowed",
    re.IGNORECASE,
)
_FILTERED = re.compile(r"safety system|content (?:filter|management policy)", re.IGNORECASE)
_FULL = re.compile(r"high traffic|queue|overloaded", re.IGNORECASE)
_NO_MODEL = re.compile(r"model", re.IGNORECASE)


class BackendFault(NamedTuple):
    """An error as a backend gave it.

    Attributes:
        status: HTTP status; of an error inside a stream the one that stands for it.
        retry_after_s: how long it asks to be left alone; None: it does not say.
    """

    kind: ErrorKind
    status: int
    message: str
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
    retry_after_s: float | None = None


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes, now_unix_s: float) -> BackendFault:
    """What an HTTP error says.

    Args:
        body: as much of it as there is; it need not be JSON.
        now_unix_s: seconds since 1970: absolute resets are measured from it.
    """
    found = _fields(_decoded(body))
    if found is None:
        text = body[:MAX_MESSAGE_CHARS].decode("utf-8", "replace").strip()
        found = {"message": text if text and not text.startswith("<") else f"the backend answered {status}"}
    aws_type = headers.get(b"x-amzn-errortype")
    if aws_type is not None:
        found = {**found, "type": aws_type.decode("latin-1").partition(":")[0]}
    kind = _kind(status, found)
    if kind is ErrorKind.BAD_REQUEST and headers.get(b"x-should-retry") == b"true":
        kind = ErrorKind.SERVER_ERROR  # the provider itself says that it may work the next time
    fault = _fault(kind, status, found)
    return fault._replace(retry_after_s=_retry_after_s(kind, headers, fault.message, now_unix_s))


def stream_error(payload: bytes) -> BackendFault | None:
    """The first error among whole events (or lines of NDJSON) of a 200 stream; None: there is none."""
    if b"error" not in payload and b"response.failed" not in payload:
        return None
    for data in _datas(payload):
        fault = _event_fault(_decoded(data))
        if fault is not None:
            return fault
    return None


def event_error(data: bytes) -> BackendFault | None:
    """The error that the data of one event, or a whole answer, carries; None: none that can be read."""
    return _event_fault(_decoded(data))


def client_error(fault: BackendFault, api: ApiName) -> tuple[int, bytes]:
    """HTTP status and body of `fault` in the shape of the API that was asked."""
    status = fault.status if fault.status >= 400 else _STATUS_OF[fault.kind]
    if api == "messages":
        usual = "request_too_large" if status == 413 else "invalid_request_error"
        kind = _ANTHROPIC_TYPE.get(fault.kind, usual)
        return status, messages_error_body(fault.message, kind)
    code = _CODE_OF.get(fault.kind) or (fault.code if isinstance(fault.code, str) else None)
    return status, error_body(fault.message, _OPENAI_TYPE.get(fault.kind, "invalid_request_error"), code, fault.param)


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except _UNREADABLE:
        return None


def _fields(body: object) -> dict[str, Any] | None:
    """Message, type, code and param of an error body of any shape; None: it is of none."""
    if isinstance(body, list):
        body = body[0] if body else None
    if not isinstance(body, dict):
        return None
    inner = body.get("error", body)
    if isinstance(inner, str):
        return {"message": inner, "status": body.get("status_code")}
    if not isinstance(inner, dict):
        return None
    message = next((inner[name] for name in ("message", "Message", "detail") if inner.get(name)), "")
    return {
        "message": message if isinstance(message, str) else msgspec.json.encode(message).decode(),
        "type": _text(inner.get("type")) or _text(inner.get("status")) or _text(inner.get("__type")),
        "code": inner.get("code"),
        "param": _text(inner.get("param")),
        "status": body.get("status_code"),
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _fault(kind: ErrorKind, status: int, found: Mapping[str, Any]) -> BackendFault:
    code = found.get("code")
    message = str(found.get("message") or f"the backend answered {status}")[:MAX_MESSAGE_CHARS]
    return BackendFault(
        kind, status, message, found.get("type"), code if isinstance(code, str | int) else None, found.get("param")
    )


def _kind(status: int, found: Mapping[str, Any]) -> ErrorKind:
    message = str(found.get("message") or "")
    if status == 413:
        return ErrorKind.CONTEXT_LENGTH
    for name in (found.get("code"), found.get("type")):
        kind = _BY_CODE.get(name.lower()) if isinstance(name, str) else None
        if kind is not None:
            return kind
    if status == 404 and _NO_MODEL.search(message):
        return ErrorKind.MODEL_NOT_FOUND
    if status == 429 and _FULL.search(message):
        return ErrorKind.OVERLOADED
    if status in (400, 422) and _TOO_LONG.search(message):
        return ErrorKind.CONTEXT_LENGTH
    if status in (400, 422) and _FILTERED.search(message):
        return ErrorKind.CONTENT_FILTER
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ErrorKind.BAD_REQUEST if 400 <= status < 500 else ErrorKind.SERVER_ERROR


def _retry_after_s(kind: ErrorKind, headers: Mapping[bytes, bytes], message: str, now_unix_s: float) -> float | None:
    """What the headers ask; for a used-up quota also its reset, or the words of the message."""
    texts = rate_limit_headers(headers)
    asked_s = retry_after_s(texts, now_unix_s)
    if asked_s is None and kind is ErrorKind.QUOTA:
        resets = [each.reset_s for each in rate_limits(texts, now_unix_s) if each.remaining == 0.0]
        asked_s = max((at_s for at_s in resets if at_s is not None), default=None)
    if asked_s is None and (words := _AGAIN_IN.search(message)):
        asked_s = reset_s(words[1], now_unix_s)
    return None if asked_s is None else min(asked_s, MAX_RETRY_AFTER_S)


def _datas(payload: bytes) -> Iterator[bytes]:
    for event in _BLANK_LINE.split(payload):
        data = event_data(event)
        if data:
            yield data
        elif event.lstrip().startswith(b"{"):
            yield from event.splitlines()


def _event_fault(event: object) -> BackendFault | None:
    """The error that an event carries, in the shape of any API; None: it carries none."""
    if not isinstance(event, dict):
        return None
    groq, response = event.get("x_groq"), event.get("response")
    if event.get("type") == "response.failed" and isinstance(response, dict):
        event = {"error": response.get("error") or {}}
    elif event.get("type") == "error" and "error" not in event:
        event = {"error": {**event, "type": None}}
    elif event.get("error") is None and isinstance(groq, dict) and groq.get("error") is not None:
        event = {"error": groq["error"]}
    found = None if event.get("error") is None else _fields(event)
    if found is None:
        return None
    said = next((each for each in (found.get("status"), found.get("code")) if isinstance(each, int)), OK)
    kind = _kind(said, found) if said > OK else _kind(500, found)
    return _fault(kind, said if said >= 400 else _STATUS_OF[kind], found)
