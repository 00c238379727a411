"""Errors as a provider would send them: what the emulator answers, and what the reader of errors is held against."""

from __future__ import annotations

import msgspec

from headrace.wire.dialects.dialect import Dialect, ErrorRow, ErrorShape, StreamError


def error_headers(dialect: Dialect, row: ErrorRow) -> dict[bytes, bytes]:
    """The headers that tell what kind of error it is, where a provider has such."""
    if dialect.error_shape is ErrorShape.AWS and row.type is not None:
        return {b"x-amzn-errortype": row.type.encode()}
    return {}


def render_error(dialect: Dialect, row: ErrorRow) -> bytes:
    """The body of an HTTP error."""
    fields = {"message": row.message, "type": row.type, "param": None, "code": row.code}
    match dialect.error_shape:
        case ErrorShape.FLAT:
            body: object = fields
        case ErrorShape.ANTHROPIC:
            body = _anthropic(row) | {"request_id": "req_emulated"}
        case ErrorShape.AWS:
            body = {"message": row.message}
        case ErrorShape.GOOGLE:
            body = [{"error": {"code": row.code, "message": row.message, "status": row.type}}]
        case _:
            body = {"error": fields}
    return msgspec.json.encode(body)


def render_stream_error(dialect: Dialect, row: ErrorRow) -> bytes:
    """The same error inside a 200 stream, as the event, or events, that the stream ends with."""
    fields = {"message": row.message, "type": row.type, "param": None, "code": row.code}
    match dialect.stream_error:
        case StreamError.WITH_STATUS:
            return _event({"error": fields, "status_code": row.status})
        case StreamError.X_GROQ:
            return _event({"choices": [], "x_groq": {"id": "req_emulated", "error": row.message}})
        case StreamError.ERROR_EVENT:
            return b"event: error\n" + _event(_anthropic(row))
        case _:
            return _event({"error": fields}) + b"data: [DONE]\n\n"


def _anthropic(row: ErrorRow) -> dict[str, object]:
    return {"type": "error", "error": {"type": row.type, "message": row.message}}


def _event(body: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(body)
