"""Errors inside a translated stream: a backend's event as `Failed`, and `Failed` as a client's API says it."""

from __future__ import annotations

from headrace.wire.api import ApiName
from headrace.wire.backend_error import event_error
from headrace.wire.canonical import Failed
from headrace.wire.errors import shaped_error

BAD_GATEWAY = 502
BROKEN = "the backend's stream ended before its answer did"
UNSAID = "the backend reported an error without saying which"


def failure(message: str, status: int = BAD_GATEWAY) -> Failed:
    """A failure that headrace itself found in a backend's answer."""
    return Failed(status, message, "server_error", "backend_error")


def said_failure(data: bytes) -> Failed:
    """The error that a backend's event, or whole answer, carries; never raises."""
    fault = event_error(data)
    if fault is None:
        return failure(UNSAID)
    code = None if fault.code is None else str(fault.code)
    return Failed(fault.status, fault.message, fault.type or "server_error", code, fault.param, fault.kind)


def error_body(failed: Failed, api: ApiName = "chat") -> bytes:
    """The error in the shape of an API."""
    return shaped_error(api, failed.status, failed.message, failed.kind, failed.code, failed.param)
