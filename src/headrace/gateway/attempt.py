"""One attempt at a request on one backend."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from headrace.gateway.answer import Answer, ErrorAnswer, JsonAnswer, failure_kind
from headrace.gateway.backends import BackendLink
from headrace.gateway.capped_answer import CappedAnswer
from headrace.gateway.counters import Series
from headrace.gateway.fitting import Prepared
from headrace.gateway.pace import Pace
from headrace.gateway.renamed_stream import renamed
from headrace.gateway.request import GatewayRequest
from headrace.gateway.rescue import Continuing, Rescue
from headrace.gateway.spliced_answer import StreamAnswer
from headrace.gateway.translated_answer import TranslatedWhole, resumed_stream, translated_stream
from headrace.http import ClientExchange, FailedKind, header_value
from headrace.policy import FailureKind
from headrace.telemetry import AttemptTrail, passed_on
from headrace.wire import (
    ApiName,
    BackendFault,
    ErrorKind,
    Usage,
    client_error,
    read_error,
    renamed_answer,
    with_model,
)
from headrace.wire.canonical import Failed
from headrace.wire.dialects import ErrorShape

_EMULATED = b"x-headrace-emulated"
_FAILURES: dict[ErrorKind, FailureKind] = {
    ErrorKind.OVERLOADED: FailureKind.OVERLOADED,
    ErrorKind.QUOTA: FailureKind.OVERLOADED,  # as healthy, and left alone for as long as it says
    ErrorKind.MISCONFIGURED: FailureKind.MISCONFIGURED,
    ErrorKind.MODEL_NOT_FOUND: FailureKind.MISCONFIGURED,
    ErrorKind.SERVER_ERROR: FailureKind.SERVER_ERROR,
    ErrorKind.CONTEXT_LENGTH: FailureKind.UNFIT,
}  # the other kinds are the client's answer
_SHAPES: dict[ApiName, ErrorShape] = {"messages": ErrorShape.ANTHROPIC}  # every other API's is OpenAI's
SSE, JSON = b"text/event-stream", b"application/json"


class AttemptOwner(Protocol):
    """Who is told how an attempt goes."""

    run_id: bytes
    rescue_max_bytes: int

    def first_token(self, attempt: Attempt) -> None:
        """The first token of the answer came."""

    def rate_limits(self, attempt: Attempt, status: int, headers: dict[bytes, bytes]) -> None:
        """The answer's head came from a backend with a quota."""

    def finished(
        self, attempt: Attempt, usage: Usage | None, delivered_tokens: int | None, send_end: Callable[[], None]
    ) -> None:
        """The answer is complete; call `send_end` once that is on record."""

    def capped(self, attempt: Attempt, rescue: Rescue, usage: Usage | None) -> bool:
        """The answer has reached a lowered ceiling; returns whether it goes on."""

    def failed(self, attempt: Attempt, kind: FailureKind, retry_after_s: float | None) -> None:
        """There will be no complete answer."""


class Attempt:
    """One try of a request on one backend. Until its answer's head is read it is the response's sink itself.

    Attributes:
        committed: a part of the answer has been handed to the client.
        ended: nothing that still comes matters.
        dispatched_s: when it was, on the engine's clock.
        held_back: the backend is not read, because the client takes the answer more slowly.
        fault: the error that the backend gave inside its answer.
        rescue: the answer is to be gone on with, not begun.
        lowered: a ceiling on its output that is lower than the client's, and the body that says so; None: it is not.
        series: what it is counted in, from its dispatch on.
        pace: how quickly the answer comes; None: nobody has asked.
        trail: what is kept of it for its request's access log line and trace; None: nothing is.
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
        "dispatched_s",
        "ended",
        "fault",
        "held_back",
        "link",
        "lowered",
        "pace",
        "request",
        "rescue",
        "series",
        "trail",
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
        self.dispatched_s = 0.0
        self.fault: Failed | None = None
        self.rescue = request.rescue
        self.lowered: tuple[int, bytes] | None = None
        self.series: Series
        self.pace: Pace | None = None
        self.trail: AttemptTrail | None = None
        self.content_type = b""
        self._owner = owner
        self._emulated: bytes | None = None
        self._retry_after_s: float | None = None
        self.client: ClientExchange | None = None

    def send(self) -> None:
        """Send the request to the backend."""
        request = self.request
        said: Prepared | Continuing | None
        if self.rescue is None:
            said = request.prepared.get(self.link.fit_key)
        else:
            said = self.rescue.bodies[self.link.fit_key]
        api, body = (request.api, request.body) if said is None else (said.api, said.body)
        if self.lowered is not None:
            body = self.lowered[1]
        if self.link.served_model_name is not None:
            body = with_model(body, self.link.served_model_name)
        head = self.link.request_head(api, self._headers(), body)
        self.client = self.link.pool.send(head, body, self)

    def _headers(self) -> dict[bytes, bytes]:
        """The client's, of which a few go on; where a trace is recorded, this attempt is the parent of what follows."""
        headers, trail = self.request.exchange.headers, self.request.trail
        if trail is None or trail.context is None or self.trail is None:
            return headers
        return passed_on(headers, trail.context, self.trail.span_id)

    @property
    def rescue_max_bytes(self) -> int:
        """Text of an answer that is kept so that another backend can go on with it."""
        return self._owner.rescue_max_bytes

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
        if self.link.quota is not None:
            self._owner.rate_limits(self, status, headers)
        answer = self._answer_for(status, headers)
        if answer is None:
            self.failed(FailureKind.GARBAGE)
            return
        self.answer = answer
        assert self.client is not None
        name = self.link.served_model_name
        self.client.hand_over(answer if name is None else renamed(answer, name, self.request.model))

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

    @property
    def answer_id(self) -> str:
        """An id for the answer, unique among all gateways' answers."""
        return f"{self._owner.run_id.decode()}{self.request.request_id:08x}"

    def answer_head(self, content_type: bytes = b"") -> bytes:
        """Header lines of the answer to the client, which is of the backend's content type unless another is given."""
        request, content_type = self.request, content_type or self.content_type or JSON
        head = b"content-type: " + content_type + b"\r\n" + self.link.answer_head(request.workload_class)
        head += b"%b-%d\r\n" % (self._owner.run_id, request.request_id)
        if self._emulated is not None:
            head += b"%b: %b\r\n" % (_EMULATED, self._emulated)
        if request.prepared:
            head += self._lost()
        return head + request.explained

    def _lost(self) -> bytes:
        """Header lines that name what of the request did not reach the backend as it was."""
        prepared = self.request.prepared.get(self.link.fit_key)
        if prepared is None:
            return b""
        named = ((b"x-headrace-dropped", prepared.dropped), (b"x-headrace-approximated", prepared.approximated))
        return b"".join(b"%b: %b\r\n" % (name, header_value(lost)) for name, lost in named if lost)

    def start_answer(self, content_type: bytes = b"") -> None:
        """Begin a streamed answer to the client, or go on with it, with back-pressure from it to the backend."""
        self.committed = True
        exchange = self.request.exchange
        if self.rescue is None:
            exchange.start(200, self.answer_head(content_type))
        else:
            exchange.write(self.rescue.opening_words(self.link.name))
        exchange.on_pause = self._hold_back
        exchange.on_resume = self._go_on
        if self.request.held_back:
            self._hold_back()

    def first_token(self) -> None:
        """The first token came."""
        self._owner.first_token(self)

    def named(self, body: bytes) -> bytes:
        """A whole answer with the name that the client knows its model by."""
        name = self.link.served_model_name
        return body if name is None else renamed_answer(body, name, self.request.model)

    def remember(self, answer: Callable[[], bytes]) -> None:
        """The answer is complete: keep it, if the client may go on from it."""
        if self.request.remember is not None:
            self.request.remember(answer)

    def finished(self, usage: Usage | None, delivered_tokens: int | None, send_end: Callable[[], None]) -> None:
        """The answer is complete; `send_end` gives the client the last of it, once the end is on record."""
        self.ended = True
        self._owner.finished(self, usage, delivered_tokens, send_end)

    def capped(self, rescue: Rescue, usage: Usage | None) -> bool:
        """The answer has reached the lowered ceiling; returns whether it goes on: then this attempt is over."""
        self.ended = True
        goes_on = self._owner.capped(self, rescue, usage)
        self.ended = goes_on
        return goes_on

    def failed(self, kind: FailureKind) -> None:
        """There will be no complete answer; a client that has a part of it is told by the end of its connection."""
        self.ended = True
        if self.client is not None:
            if self.answer is None:
                self.client.release()  # a short error: its connection is good for another request
            else:
                self.client.cancel()
        self._owner.failed(self, kind, self._retry_after_s)

    def refused(self, fault: BackendFault, body: bytes | None = None) -> None:
        """The backend answered with an error: another one may do better, or it is the client's answer.

        Args:
            body: as it came; None: inside a stream.
        """
        kind = _FAILURES.get(fault.kind)
        if kind is None and self.rescue is not None:
            kind = FailureKind.UNFIT  # it does not take an answer to go on with: another may
        status, wire = client_error(fault, self.request.api)
        if body is not None and self.link.dialect.error_shape is _SHAPES.get(self.request.api, ErrorShape.WRAPPED):
            wire = body if _is_wrapped(body) else wire
        wire = self.link.credentials.redacted(wire)
        if kind is not None:
            self._retry_after_s = fault.retry_after_s
            if kind is FailureKind.UNFIT:
                self.request.refusal = (status, wire)
            self.failed(kind)
            return
        self.content_type = JSON
        head, exchange = self.answer_head(), self.request.exchange
        self.finished(Usage(0, 0), None, lambda: exchange.respond(status, head, wire))

    def broken(self) -> Rescue | None:
        """How another backend can go on with the answer of which the client has a part; None: none can."""
        found = self.answer.broken() if self.answer is not None and self.committed else None
        if found is not None:
            found.fault = self._redacted_fault()
        return found

    def _redacted_fault(self) -> Failed | None:
        """The error inside the answer, without the credential that the backend may have repeated in it."""
        if self.fault is None:
            return None
        said = msgspec.structs.asdict(self.fault).items()
        words = {name: self.link.credentials.redacted(it.encode()).decode() for name, it in said if type(it) is str}
        return msgspec.structs.replace(self.fault, **words)

    def delivered_tokens(self) -> int:
        """Lower bound of the tokens that the client got."""
        return self.answer.delivered_tokens() if self.answer is not None and self.committed else 0

    def forget(self) -> None:
        """Let go of the answer and the connection: they hold this attempt too."""
        self.answer = None
        self.client = None

    def _hold_back(self) -> None:
        self.held_back = self.request.held_back = True
        if self.client is not None:
            self.client.pause_reading()

    def _go_on(self) -> None:
        self.held_back = self.request.held_back = False
        if self.client is not None:
            self.client.resume_reading()

    def _answer_for(self, status: int, headers: dict[bytes, bytes]) -> Answer | None:
        content_type = self.content_type
        if content_type not in (JSON, SSE):
            content_type = content_type.partition(b";")[0].strip().lower()
        if status >= 400:
            return ErrorAnswer(self, partial(_read_error, status, headers))
        if status != 200:
            return None
        if self.rescue is not None:
            return resumed_stream(self, self.rescue) if content_type == SSE else None
        prepared = self.request.prepared.get(self.link.fit_key)
        if prepared is not None and prepared.translated:
            return self._translation(content_type, prepared)
        if content_type == SSE:
            return StreamAnswer(self) if self.lowered is None else CappedAnswer(self, self.lowered[0])
        if content_type == JSON:
            return JsonAnswer(self)
        return None

    def _translation(self, content_type: bytes, prepared: Prepared) -> Answer | None:
        if content_type == SSE and self.request.head.stream:
            return translated_stream(self, prepared)
        return TranslatedWhole(self, prepared) if content_type == JSON else None


def _read_error(status: int, headers: dict[bytes, bytes], body: bytes) -> BackendFault:
    return read_error(status, headers, body, time.time())


def _is_wrapped(body: bytes) -> bool:
    """Whether an error's body has its API's shape already, so that it goes on as it came."""
    inner = body.lstrip()[1:].lstrip()
    return body.lstrip()[:1] == b"{" and inner.startswith((b'"error":{', b'"type":"error"'))
