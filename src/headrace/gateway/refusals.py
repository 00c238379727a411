"""Refusals: what a client is told that gets no answer, in the shape of the API that it asked."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from headrace.errors import CapacityError, HeadraceError, UnknownModel
from headrace.gateway.access import refusal_lines
from headrace.gateway.request import GatewayRequest
from headrace.http import header_lines
from headrace.policy import Reject, RejectReason
from headrace.wire import ApiName, encode_error, shaped_error, wire_error

JSON = header_lines((b"content-type", b"application/json"))
NO_BACKEND = "no backend can answer now; try again after the time in retry-after"
SAID = {
    RejectReason.QUEUE_FULL: "too many requests wait already; try again after the time in retry-after",
    RejectReason.SHED: "it would have waited too long here; try again after the time in retry-after",
    RejectReason.QUEUE_TIMEOUT: "no backend became free in time; try again after the time in retry-after",
    RejectReason.BUDGET_SPENT: "the budget for such requests is spent; try again after the time in retry-after",
}
OURS = frozenset({RejectReason.QUEUE_FULL, RejectReason.SHED, RejectReason.BUDGET_SPENT})  # 429: no backend's fault


class Refusal(NamedTuple):
    """An HTTP status, header lines, and a body; `label`: in the metrics, of one that is counted by its error."""

    status: int
    headers: bytes
    body: bytes
    label: str = ""


def refused(error: HeadraceError, api: ApiName) -> Refusal:
    """An error as an answer."""
    status, body = encode_error(error, api)
    headers = JSON
    if isinstance(error, CapacityError):
        headers += _retry_after(ceil(error.retry_after_s))
    return Refusal(status, headers + refusal_lines(error), body, wire_error(error).label)


def rejected(request: GatewayRequest, action: Reject) -> Refusal:
    """What the engine turned away."""
    if action.reason is RejectReason.NO_ROUTE:
        return refused(UnknownModel("no route of this fleet serves the request", "model"), request.api)
    if action.reason is RejectReason.UNFIT and request.refusal is not None:
        return Refusal(request.refusal[0], JSON, request.refusal[1])
    row = wire_error(CapacityError(""))
    status = 429 if action.reason in OURS else row.status
    body = shaped_error(request.api, status, SAID.get(action.reason, NO_BACKEND), row.wire_type, row.code)
    return Refusal(status, JSON + _retry_after(round(action.retry_after_s)), body)


def _retry_after(seconds: int) -> bytes:
    return b"retry-after: %d\r\n" % max(1, seconds)
