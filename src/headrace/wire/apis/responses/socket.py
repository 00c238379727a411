"""The Responses API over a WebSocket: messages instead of a request and a stream of server-sent events.

The client sends `response.create` messages, each a request body with an envelope; it is sent the data of each event of
the answer as a message. A `stream_id` puts a request into a lane, and every message of its answer names it. There is no
status line, so an error is an event with a status, and nothing but a last event says that an answer has ended.

What headrace says in header lines elsewhere (which backend, what was dropped) is in the first message of an answer, in
the field `headrace`.

Source: OpenAI's API description, `ResponsesClientEventResponseCreate`, `ResponsesServerEvent`, `ResponseWsError`; its
SDK (`types/responses/responses_client_event.py`) for `generate`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Raw

from headrace.errors import RequestError
from headrace.wire.apis.errors import BAD_GATEWAY, BROKEN
from headrace.wire.apis.responses.read_request import read_request
from headrace.wire.apis.responses.write_answer import ResponsesStreamWriter
from headrace.wire.body import NOT_JSON, NULL, decode_body, given
from headrace.wire.canonical import Ended, Finished, Started, Usage
from headrace.wire.errors import error_body
from headrace.wire.sse import EventReader

T = TypeVar("T")
CREATE = "response.create"
_STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_COMPLETE = ("response.completed", "response.incomplete")
_LAST = (*_COMPLETE, "response.failed", "response.cancelled", "error")
_PERHAPS_LAST = re.compile(rb'"type"\s*:\s*"(?:%b)"' % b"|".join(name.encode().replace(b".", rb"\.") for name in _LAST))
_NOT_LAST = re.compile(rb'\{\s*"type"\s*:\s*"response\.(?!(?:completed|incomplete|failed|cancelled)")[a-z_.]+"')
_encode = msgspec.json.Encoder().encode
_texts = msgspec.json.Decoder(str)
_flags = msgspec.json.Decoder(bool)


class _Event(msgspec.Struct):
    type: str = ""
    status: int = BAD_GATEWAY
    response: Raw = NULL
    error: Raw = NULL
    code: str | int | None = None
    message: str | None = None
    param: str | None = None


class _Whole(msgspec.Struct):
    status: str = "completed"
    output: tuple[Raw, ...] = ()


class _ErrorBody(msgspec.Struct):
    error: Raw = NULL


_events = msgspec.json.Decoder(_Event)
_wholes = msgspec.json.Decoder(_Whole)
_errors = msgspec.json.Decoder(_ErrorBody)


class Create(NamedTuple):
    """A request to create a response.

    Attributes:
        body: as it would be posted, for a stream, and without `previous_response_id`.
        goes_on_from: that id.
        generate: the model is to answer; else the state is only prepared.
        stored: the answer is stored as one over HTTP is.
    """

    body: bytes
    goes_on_from: str | None
    generate: bool
    stored: bool


def stream_id_of(fields: Mapping[str, Raw]) -> str:
    """The lane that a message belongs to; empty: none is named. Raises RequestError: that is no name of a lane."""
    value = given(fields.get("stream_id", NULL))
    if value is None:
        return ""
    name = decode_body(_texts, value, "a text", "stream_id")
    if _STREAM_ID.fullmatch(name) is None:
        raise RequestError("stream_id: send 1 to 256 letters, digits, `_`, `.` or `-`", "stream_id")
    return name


def read_create(fields: dict[str, Raw]) -> Create:
    """The request in a message's fields, which are taken over.

    Raises:
        RequestError: it is no `response.create`, or asks for what there is not over a WebSocket.
    """
    kind = _read(fields, "type", _texts, "a text")
    if kind != CREATE:
        raise RequestError(f"type: the only message understood is {CREATE!r}, not {kind!r}", "type")
    if _read(fields, "background", _flags, "true or false"):
        raise RequestError("background: not over a WebSocket; post the request instead", "background")
    generate = _read(fields, "generate", _flags, "true or false")
    goes_on_from = _read(fields, "previous_response_id", _texts, "a text")
    fields.pop("stream_id", None)
    fields["stream"] = Raw(b"true")
    stored = generate is not False and bytes(fields.get("store", NULL)) != b"false"
    return Create(_encode(fields), goes_on_from, generate is not False, stored)


def _read(fields: dict[str, Raw], name: str, decoder: msgspec.json.Decoder[T], what: str) -> T | None:
    value = given(fields.pop(name, NULL))
    return None if value is None else decode_body(decoder, value, what, name)


def prepared(body: bytes, answer_id: str, created_s: int) -> bytes:
    """The stream of a request that only prepares the state: a response without output, at once complete.

    Raises:
        RequestError: the body is no request of the Responses API.
    """
    writer = ResponsesStreamWriter(read_request(body), answer_id, created_s)
    return writer.write_all([Started(), Finished("stop"), Usage(0, 0), Ended()])


class SocketWriter:
    """The messages of one answer.

    Attributes:
        ended: the last one has been written.
        response: the whole response, once it is complete; empty before.
    """

    __slots__ = ("_reader", "_stream_id", "_told", "ended", "response")

    def __init__(self, stream_id: str = "") -> None:
        self._stream_id = b'"stream_id":%b,' % _encode(stream_id) if stream_id else b""
        self._reader = EventReader()
        self._told = b""
        self.ended = False
        self.response = b""

    def tell(self, headers: Mapping[str, str]) -> None:
        """Put these into the next message, in `headrace`."""
        self._told = b'"headrace":%b,' % _encode(headers) if headers else b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that a piece of the stream of events completes.

        Raises:
            ValueError: an event is too long, or is no UTF-8; those before it have been given.
        """
        for event in self._reader.feed(data):
            if event[:1] == b"{" and not self.ended:
                yield self._message(event)

    def whole(self, body: bytes) -> list[bytes]:
        """The messages that say a whole response.

        Raises:
            ValueError: it is none.
        """
        whole = _wholes.decode(body)
        response = body.strip()
        events = [b'"type":"response.created","response":%b' % response]
        item = b'"type":"response.output_item.done","output_index":%d,"item":%b'
        events += [item % (index, bytes(raw)) for index, raw in enumerate(whole.output)]
        events += [b'"type":"response.%b","response":%b' % (whole.status.encode(), response)]
        numbered = (b'{%b,"sequence_number":%d}' % (event, number) for number, event in enumerate(events))
        return [self._message(event) for event in numbered]

    def error(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
        """The message that says an error, given the body that would say it."""
        try:
            error = bytes(_errors.decode(body).error).strip()
        except NOT_JSON:
            error = b""
        if error[:1] != b"{":
            error = _inner("the backend answered with an error", "server_error", "backend_error")
        if headers:
            error = b'%b,"headers":%b}' % (error[:-1], _encode(headers))
        self.ended = True
        return self._enveloped(b'{"type":"error","status":%d,"error":%b}' % (status, error))

    def broken(self) -> list[bytes]:
        """The message that says that there will be no more; none where the last one has been written."""
        return [] if self.ended else [self.error(BAD_GATEWAY, error_body(BROKEN, "server_error", "backend_error"))]

    def _message(self, event: bytes) -> bytes:
        if not event.isascii():
            event.decode()
        # Most events begin with what they are: to know that such a one is not the last, the rest need not be searched.
        if _NOT_LAST.match(event) is None and _PERHAPS_LAST.search(event) is not None:
            event = self._looked_at(event)
        return self._enveloped(event)

    def _looked_at(self, data: bytes) -> bytes:
        """An event that may be the last: a whole response is kept, an error gets its shape here."""
        try:
            event = _events.decode(data)
        except NOT_JSON:
            return data
        self.ended = event.type in _LAST
        if event.type in _COMPLETE:
            self.response = bytes(event.response)
        if event.type != "error":
            return data
        error = bytes(event.error)
        if error[:1] != b"{":
            code = None if event.code is None else str(event.code)
            error = _inner(event.message or BROKEN, "server_error", code, event.param)
        return b'{"type":"error","status":%d,"error":%b}' % (event.status, error)

    def _enveloped(self, event: bytes) -> bytes:
        told, self._told = self._told, b""
        if not (told or self._stream_id):
            return event
        fields = event[1:].lstrip()
        return b"{%b%b%b" % (self._stream_id, told, fields) if fields != b"}" else event


def _inner(message: str, wire_type: str, code: str | None, param: str | None = None) -> bytes:
    return bytes(_errors.decode(error_body(message, wire_type, code, param)).error)
