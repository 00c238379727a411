"""One request as the gateway holds it, and one attempt at it on one backend."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from math import isnan
from typing import Protocol

import msgspec

from headrace.gateway.answer import Answer, JsonAnswer, RefusalAnswer, StreamAnswer, failure_kind
from headrace.gateway.backends import BackendLink
from headrace.http import ClientExchange, Exchange, FailedKind
from headrace.policy import FailureKind
from headrace.wire import Usage

OVERLOADED_STATUSES = frozenset((408, 429, 498, 503, 529))
OUR_FAULT_STATUSES = frozenset((401, 402, 403, 404, 405, 407))  # the key, account or URL we have for it is wrong
MAX_RETRY_AFTER_S = 3600.0
_EMULATED = b"x-headrace-emulated"


class GatewayRequest(msgspec.Struct, eq=False):
    """A client's request, from its arrival to its end.

    Attributes:
        body: as it goes to a backend; `body_bytes`: as it came.
        asked_usage: headrace asked for the usage chunk and the client did not, so it is withheld.
        client_gone: the client closed its connection before the answer was complete.
    """

    request_id: int
    exchange: Exchange
    workload_class: str
    body: bytes
    body_bytes: int
    asked_usage: bool
    input_tokens: int
    max_output_tokens: int | None
    arrived_s: float
    attempt: Attempt | None = None
    client_gone: bool = False


class AttemptOwner(Protocol):
    """Who is told how an attempt goes."""

    run_id: bytes

    def first_token(self, attempt: Attempt) -> None:
        """The first token of the answer came."""

    def finished(
        self, attempt: Attempt, usage: Usage | None, delivered_tokens: int | None, send_end: Callable[[], None]
    ) -> None:
        """The answer is complete; call `send_end` once that is on record."""

    def failed(self, attempt: Attempt, kind: FailureKind, retry_after_s: float | None) -> None:
        """There will be no complete answer."""


class Attempt:
    """One try of a request on one backend. Until its answer's head is read it is the response's sink itself.

    Attributes:
        committed: a part of the answer has been handed to the client.
        ended: nothing that still comes matters.
        held_back: the backend is not read, because the client takes the answer more slowly.
    """

    __slots__ = (
        "_emulated",
        "_owner",
        "_retry_after_s",
        "answer",
        "attempt_id",
        "client",
        "committed",
        "content_type",
        "ended",
        "held_back",
        "link",
        "request",
        "wants_framed",
    )

    def __init__(self, attempt_id: int, request: GatewayRequest, link: BackendLink, owner: AttemptOwner) -> None:
        self.attempt_id = attempt_id
        self.request = request
        self.link = link
        self.wants_framed = False
        self.answer: Answer | None = None
        self.committed = False
        self.ended = False
        self.held_back = False
        self.content_type = b""
        self._owner = owner
        self._emulated: bytes | None = None
        self._retry_after_s: float | None = None
        self.client: ClientExchange | None = None

    def send(self) -> None:
        """Send the request to the backend."""
        request = self.request
        head = self.link.request_head(request.exchange.headers, len(request.body))
        self.client = self.link.pool.send(head, request.body, self)

    def cancel(self) -> None:
        """Want no more of it: the backend's connection is closed, which is how backends learn of it."""
        self.ended = True
        if self.client is not None:
            self.client.cancel()

    # the response's sink, up to the head

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Sort the response by its head."""
        self.content_type = headers.get(b"content-type", b"")
        self._emulated = headers.get(_EMULATED)
        kind = _failure_of(status)
        if kind is not None:
            self._retry_after_s = retry_after_s(headers)
            self.failed(kind)
            return
        answer = self._answer_for(status)
        if answer is None:
            self.failed(FailureKind.GARBAGE)
            return
        self.answer = answer
        assert self.client is not None
        self.client.hand_over(answer)

    def on_framed(self, block: bytes) -> None:
        """Nothing comes before the head."""

    def on_data(self, data: bytes) -> None:
        """Nothing comes before the head."""

    def on_end(self, explicit: bool) -> None:
        """Nothing comes before the head."""

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """No answer came at all."""
        if not self.ended:
            self.failed(failure_kind(kind))

    # what answers say

    def answer_head(self) -> bytes:
        """Header lines of the answer to the client."""
        emulated = b"" if self._emulated is None else b"%b: %b\r\n" % (_EMULATED, self._emulated)
        return b"content-type: %b\r\n%b%b-%d\r\n%b" % (
            self.content_type or b"application/json",
            self.link.answer_head(self.request.workload_class),
            self._owner.run_id,
            self.request.request_id,
            emulated,
        )

    def start_answer(self) -> None:
        """Begin a streamed answer to the client, with back-pressure from it to the backend."""
        self.committed = True
        exchange = self.request.exchange
        exchange.start(200, self.answer_head())
        exchange.on_pause = self._hold_back
        exchange.on_resume = self._go_on

    def first_token(self) -> None:
        """The first token came."""
        self._owner.first_token(self)

    def finished(self, usage: Usage | None, delivered_tokens: int | None, send_end: Callable[[], None]) -> None:
        """The answer is complete; `send_end` gives the client the last of it, once the end is on record."""
        self.ended = True
        self._owner.finished(self, usage, delivered_tokens, send_end)

    def failed(self, kind: FailureKind) -> None:
        """There will be no complete answer; a client that has a part of it is told by the end of its connection."""
        self.ended = True
        if self.client is not None:
            if self.answer is None:
                self.client.release()  # a short error: its connection is good for another request
            else:
                self.client.cancel()
        self._owner.failed(self, kind, self._retry_after_s)

    def cut_off(self) -> None:
        """End the connection of a client that has a part of an answer which will not be completed."""
        if self.committed:
            self.request.exchange.abort()

    def delivered_tokens(self) -> int:
        """Lower bound of the tokens that the client got."""
        return self.answer.delivered_tokens() if self.answer is not None and self.committed else 0

    def forget(self) -> None:
        """Let go of the answer and the connection: they hold this attempt too."""
        self.answer = None
        self.client = None

    def _hold_back(self) -> None:
        self.held_back = True
        if self.client is not None:
            self.client.pause_reading()

    def _go_on(self) -> None:
        self.held_back = False
        if self.client is not None:
            self.client.resume_reading()

    def _answer_for(self, status: int) -> Answer | None:
        content_type = self.content_type.partition(b";")[0].strip().lower()
        if 400 <= status < 500:
            return RefusalAnswer(self, status)
        if status != 200:
            return None
        if content_type == b"text/event-stream":
            return StreamAnswer(self)
        if content_type == b"application/json":
            return JsonAnswer(self)
        return None


def _failure_of(status: int) -> FailureKind | None:
    """What a status says of the backend; None: it says something of the request, or of nothing."""
    if status in OVERLOADED_STATUSES:
        return FailureKind.OVERLOADED
    if status in OUR_FAULT_STATUSES:
        return FailureKind.MISCONFIGURED
    return FailureKind.SERVER_ERROR if status >= 500 else None


def retry_after_s(headers: dict[bytes, bytes]) -> float | None:
    """Seconds that a backend asks to be left alone: `retry-after-ms`, or `retry-after` as seconds or as a date.

    What is no such time is None, and nobody is left alone for longer than an hour.
    """
    in_ms, value = headers.get(b"retry-after-ms"), headers.get(b"retry-after")
    try:
        if in_ms is not None:
            asked_s = float(in_ms) / 1000.0
        elif value is None:
            return None
        elif value[:1].isdigit():
            asked_s = float(value)
        else:
            asked_s = parsedate_to_datetime(value.decode("latin-1")).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return None if isnan(asked_s) else min(max(asked_s, 0.0), MAX_RETRY_AFTER_S)
