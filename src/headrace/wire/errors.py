"""One table from every class of error to what a client and a metric see of it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from headrace.errors import (
    BackendError,
    BodyTooLarge,
    BudgetSpent,
    CapacityError,
    ConfigError,
    DeadlinePassed,
    Forbidden,
    HeadraceError,
    InfeasiblePlan,
    InvariantError,
    ModelRangeError,
    NoPlanInTime,
    QuotaExceeded,
    RequestError,
    TraceError,
    Unauthenticated,
    UnknownEndpoint,
    UnknownModel,
    UnknownResponse,
)
from headrace.wire.api import ApiName


class WireError(NamedTuple):
    """How a class of error looks outside.

    Attributes:
        status: HTTP status.
        wire_type: `error.type` of OpenAI's error shape; `code` is its `error.code`.
        label: value of the metric label.
    """

    status: int
    wire_type: str
    code: str | None
    label: str


WIRE_ERRORS: dict[type[HeadraceError], WireError] = {
    HeadraceError: WireError(500, "server_error", "internal_error", "internal"),
    ConfigError: WireError(500, "server_error", "config_error", "config"),
    TraceError: WireError(500, "server_error", "trace_error", "trace"),
    RequestError: WireError(400, "invalid_request_error", None, "request"),
    BodyTooLarge: WireError(413, "invalid_request_error", "request_too_large", "body_too_large"),
    UnknownModel: WireError(404, "invalid_request_error", "model_not_found", "unknown_model"),
    UnknownResponse: WireError(400, "invalid_request_error", "previous_response_not_found", "unknown_response"),
    UnknownEndpoint: WireError(404, "invalid_request_error", "unknown_url", "unknown_endpoint"),
    Unauthenticated: WireError(401, "invalid_request_error", "invalid_api_key", "unauthenticated"),
    Forbidden: WireError(403, "invalid_request_error", "permission_denied", "forbidden"),
    BackendError: WireError(502, "server_error", "backend_error", "backend"),
    CapacityError: WireError(503, "server_error", "overloaded", "capacity"),
    DeadlinePassed: WireError(504, "server_error", "deadline_passed", "deadline"),
    QuotaExceeded: WireError(429, "rate_limit_error", "rate_limit_exceeded", "quota"),
    BudgetSpent: WireError(429, "insufficient_quota", "insufficient_quota", "budget"),
    ModelRangeError: WireError(500, "server_error", "model_range", "model_range"),
    InfeasiblePlan: WireError(500, "server_error", "infeasible_plan", "infeasible_plan"),
    NoPlanInTime: WireError(500, "server_error", "no_plan_in_time", "no_plan_in_time"),
    InvariantError: WireError(500, "server_error", "invariant_broken", "invariant"),
}


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


def wire_error(error: HeadraceError) -> WireError:
    """The row of the nearest class of `error` that has one."""
    for kind in type(error).__mro__:
        if kind in WIRE_ERRORS:
            return WIRE_ERRORS[kind]
    return WIRE_ERRORS[HeadraceError]


def error_body(message: str, wire_type: str, code: str | None = None, param: str | None = None) -> bytes:
    """A body in OpenAI's error shape."""
    return msgspec.json.encode({"error": {"message": message, "type": wire_type, "param": param, "code": code}})


def messages_error_body(message: str, kind: str) -> bytes:
    """A body in Anthropic's error shape; a parameter's name stands in the message."""
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": None})


def shaped_error(
    api: ApiName, status: int, message: str, wire_type: str, code: str | None = None, param: str | None = None
) -> bytes:
    """A body in the shape of the API that was asked; Anthropic's type follows from the status."""
    if api != "messages":
        return error_body(message, wire_type, code, param)
    usual = "api_error" if status >= 500 else "invalid_request_error"
    return messages_error_body(message, MESSAGES_KINDS.get(status, usual))


def encode_error(error: HeadraceError, api: ApiName = "chat") -> tuple[int, bytes]:
    """HTTP status and body for `error`, in the shape of the API that was asked."""
    row = wire_error(error)
    param = getattr(error, "param", None)
    return row.status, shaped_error(api, row.status, str(error), row.wire_type, row.code, param)
