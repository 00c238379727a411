"""Answers for a Responses client, written from events.

The stream is a list of output items, each opened, filled and closed; every event has a sequence number and says which
item it belongs to. The last event holds the whole response again, so finished items are kept as bytes. Text is encoded
once: its deltas, without their quotes, put together are the encoding of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace.wire.apis.errors import error_body
from headrace.wire.apis.responses.items import write_call
from headrace.wire.apis.responses.response_fields import echo, usage_object
from headrace.wire.apis.seals import carried
from headrace.wire.canonical import (
    Answer,
    Ended,
    Event,
    Failed,
    Finished,
    Opaque,
    ReasoningDelta,
    ReasoningSealed,
    RefusalDelta,
    Request,
    Started,
    SummaryDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallDone,
    ToolCallStarted,
    Usage,
    unfold,
)

_encode = msgspec.json.Encoder().encode
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_EMPTY_TEXT = b'{"type":"output_text","text":"","annotations":[],"logprobs":[]}'
# Source: OpenAI's API description, ResponseErrorCode.
_QUOTA_STATUS = 429


class ResponsesStreamWriter:
    """Writes the stream of a Responses client."""

    def __init__(self, request: Request, answer_id: str, created_s: int) -> None:
        self._request = request
        self._id = answer_id
        self._response_id = b"resp_" + answer_id.encode()
        self._created_s = created_s
        self._model = request.model
        self._sequence = 0
        self._items: list[bytes] = []
        self._usage: Usage | None = None
        self._finished = Finished("stop")
        self._begun = False
        # The item that is open:
        self._kind: type | None = None  # TextDelta, RefusalDelta, ReasoningDelta, ToolCallStarted
        self._item_id = b""
        self._pieces: list[bytes] = []
        self._logprobs: list[bytes] = []
        self._delta = b""  # an event of a delta, up to the delta
        self._after = b""  # and what follows it
        self._summaries: list[bytes] = []
        self._summary: int | None = None  # index of the summary that is open
        self._call: ToolCallStarted | None = None
        self._writers: dict[type, Callable[[Any], bytes]] = {
            TextDelta: self._write_text,
            ReasoningDelta: self._write_reasoning,
            SummaryDelta: self._write_summary,
            ReasoningSealed: self._write_seal,
            RefusalDelta: self._write_refusal,
            ToolCallStarted: self._write_call,
            ToolCallDelta: self._write_arguments,
            ToolCallDone: lambda event: self._close(),
            Opaque: self._write_opaque,
            Finished: self._write_finish,
            Started: self._write_start,
            Usage: self._keep_usage,
            Ended: self._write_end,
            Failed: self._write_failure,
        }

    def write(self, event: Event) -> bytes:
        """The bytes that say this event; empty where they must wait for another."""
        return self._writers[type(event)](event)

    def write_all(self, events: list[Event]) -> bytes:
        """The bytes of several events."""
        writers = self._writers
        return b"".join([writers[type(event)](event) for event in events])

    def response(self, status: bytes, error: bytes = b"null") -> bytes:
        """The response object as it is now.

        Args:
            status: `in_progress`, `completed`, `incomplete` or `failed`.
            error: `error` of a failed response.
        """
        cut = _INCOMPLETE.get(self._finished.reason)
        details = b'{"reason":"%b"}' % cut.encode() if status == b"incomplete" and cut else b"null"
        return (
            b'{"id":"%b","object":"response","created_at":%d,"status":"%b","error":%b,"incomplete_details":%b,'
            b'"model":%b,"output":[%b],%b%b}'
        ) % (
            self._response_id,
            self._created_s,
            status,
            error,
            details,
            _encode(self._model),
            b",".join(self._items),
            echo(self._request),
            b"" if self._usage is None else b',"usage":' + usage_object(self._usage),
        )

    def go_on(self, started: Started, sequence: int, items: list[bytes]) -> None:
        """Go on in the middle of a response.

        Args:
            started: with its whole id, as the client knows it.
            sequence: number of the next event.
            items: what has been done of its output.
        """
        self._begun = True
        self._response_id = _encode(started.id)[1:-1]
        self._model, self._created_s = started.model or self._model, started.created_s or self._created_s
        self._sequence = sequence
        self._items = items

    def go_on_in_message(self, item_id: str, text: str) -> None:
        """Go on in a message of this id that is open, and in the text that is its first part."""
        self._kind = TextDelta
        self._item_id = _encode(item_id)[1:-1]
        self._pieces = [_encode(text)[1:-1]]
        self._prepare_text()

    def begin_text(self) -> bytes:
        """The message that is open has no part yet: begin its text."""
        return self._open_part(_EMPTY_TEXT)

    def end_message(self, passed: int) -> bytes:
        """The message that is open is at its end: of the events that end text, part and item, `passed` have been."""
        return self._close(passed=passed)

    # events of the stream

    def _event(self, kind: bytes, body: bytes) -> bytes:
        number = self._sequence
        self._sequence = number + 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (kind, kind, number, body)

    def _write_start(self, event: Started) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        self._model = event.model or self._model
        self._created_s = event.created_s or self._created_s
        response = b'"response":' + self.response(b"in_progress")
        return self._event(b"response.created", response) + self._event(b"response.in_progress", response)

    def _write_text(self, event: TextDelta) -> bytes:
        begin = self._open_message(TextDelta) if self._kind is not TextDelta else b""
        text = _encode(event.text)
        self._pieces.append(text[1:-1])
        number = self._sequence
        self._sequence = number + 1
        if not event.logprobs:
            return b"%b%b%b%b%d}\n\n" % (begin, self._delta, text, self._after, number)
        logprobs = _encode(event.logprobs)
        self._logprobs.append(logprobs[1:-1])
        return b'%b%b%b,"logprobs":%b,"sequence_number":%d}\n\n' % (begin, self._delta, text, logprobs, number)

    def _write_refusal(self, event: RefusalDelta) -> bytes:
        begin = self._open_message(RefusalDelta) if self._kind is not RefusalDelta else b""
        return begin + self._write_delta(event.text)

    def _write_reasoning(self, event: ReasoningDelta) -> bytes:
        begin = b""
        if self._kind is not ReasoningDelta:
            begin = self._open_reasoning()
        if not self._pieces:
            begin += self._close_summary() + self._open_part(b'{"type":"reasoning_text","text":""}')
            self._prepare(b"response.reasoning_text.delta", b'"content_index":0,')
        return begin + self._write_delta(event.text)

    def _write_summary(self, event: SummaryDelta) -> bytes:
        begin = self._open_reasoning() if self._kind is not ReasoningDelta else b""
        if self._summary != event.index:
            begin += self._close_summary()
            self._summary = event.index
            self._summaries.append(b"")
            begin += self._event(
                b"response.reasoning_summary_part.added",
                self._summary_place() + b',"part":{"type":"summary_text","text":""}',
            )
        text = _encode(event.text)
        self._summaries[-1] += text[1:-1]
        return begin + self._event(
            b"response.reasoning_summary_text.delta", b'%b,"delta":%b' % (self._summary_place(), text)
        )

    def _write_seal(self, event: ReasoningSealed) -> bytes:
        begin = self._open_reasoning(event.seal.item_id) if self._kind is not ReasoningDelta else b""
        return begin + self._close(b',"encrypted_content":' + _encode(carried(event.seal, "responses")))

    def _write_call(self, event: ToolCallStarted) -> bytes:
        begin = self._open(ToolCallStarted, b"ctc" if event.custom else b"fc")
        self._call = event
        kind = b"response.custom_tool_call_input.delta" if event.custom else b"response.function_call_arguments.delta"
        begin += self._event(b"response.output_item.added", self._place(item=self._call_item(b"", b"in_progress")))
        self._prepare(kind, b"")
        return begin

    def _write_arguments(self, event: ToolCallDelta) -> bytes:
        return self._write_delta(event.text)

    def _write_opaque(self, event: Opaque) -> bytes:
        if event.api != "responses":
            return b""
        close = self._close()
        raw = bytes(event.raw)
        added = self._event(b"response.output_item.added", self._place(item=raw))
        done = self._event(b"response.output_item.done", self._place(item=raw))
        self._items.append(raw)
        return close + added + done

    def _write_finish(self, event: Finished) -> bytes:
        self._finished = event
        return self._close()

    def _keep_usage(self, event: Usage) -> bytes:
        self._usage = event
        return b""

    def _write_end(self, event: Ended) -> bytes:
        status = b"incomplete" if self._finished.reason in _INCOMPLETE else b"completed"
        return self._event(b"response." + status, b'"response":' + self.response(status))

    def _write_failure(self, event: Failed) -> bytes:
        """`response.failed` for clients that wait for a response's end, `error` for those that look for errors."""
        code = "rate_limit_exceeded" if event.status == _QUOTA_STATUS else "server_error"
        error = _encode({"code": code, "message": event.message})
        failed = self._event(b"response.failed", b'"response":' + self.response(b"failed", error))
        fields = (_encode(event.code or event.kind), _encode(event.message), _encode(event.param))
        flat = b'"code":%b,"message":%b,"param":%b' % fields  # the description's; SDKs look for `error`
        return failed + self._event(b"error", flat + b"," + error_body(event)[1:-1])

    # items

    def _write_delta(self, text: str) -> bytes:
        encoded = _encode(text)
        self._pieces.append(encoded[1:-1])
        number = self._sequence
        self._sequence = number + 1
        return b"%b%b%b%d}\n\n" % (self._delta, encoded, self._after, number)

    def _prepare(self, kind: bytes, index: bytes, after: bytes = b"") -> None:
        """The template of the deltas of the item that is open."""
        self._delta = b'event: %b\ndata: {"type":"%b","item_id":"%b","output_index":%d,%b"delta":' % (
            kind,
            kind,
            self._item_id,
            len(self._items),
            index,
        )
        self._after = after + b',"sequence_number":'

    def _prepare_text(self) -> None:
        self._prepare(b"response.output_text.delta", b'"content_index":0,', b',"logprobs":[]')

    def _place(self, item: bytes) -> bytes:
        return b'"output_index":%d,"item":%b' % (len(self._items), item)

    def _part_place(self) -> bytes:
        return b'"item_id":"%b","output_index":%d,"content_index":0' % (self._item_id, len(self._items))

    def _summary_place(self) -> bytes:
        fields = (self._item_id, len(self._items), len(self._summaries) - 1)
        return b'"item_id":"%b","output_index":%d,"summary_index":%d' % fields

    def _open(self, kind: type, prefix: bytes, item_id: str | None = None) -> bytes:
        """Close what is open, and name the next item."""
        closed = self._close()
        self._kind = kind
        number = b"%b_%b_%d" % (prefix, self._id.encode(), len(self._items))
        self._item_id = number if item_id is None else _encode(item_id)[1:-1]
        return closed

    def _open_part(self, part: bytes) -> bytes:
        return self._event(b"response.content_part.added", b'%b,"part":%b' % (self._part_place(), part))

    def _open_message(self, kind: type) -> bytes:
        closed = self._open(kind, b"msg")
        item = b'{"type":"message","id":"%b","status":"in_progress","role":"assistant","content":[]}' % self._item_id
        added = self._event(b"response.output_item.added", self._place(item))
        if kind is TextDelta:
            part = self._open_part(_EMPTY_TEXT)
            self._prepare_text()
        else:
            part = self._open_part(b'{"type":"refusal","refusal":""}')
            self._prepare(b"response.refusal.delta", b'"content_index":0,')
        return closed + added + part

    def _open_reasoning(self, item_id: str | None = None) -> bytes:
        closed = self._open(ReasoningDelta, b"rs", item_id)
        item = b'{"type":"reasoning","id":"%b","summary":[]}' % self._item_id
        return closed + self._event(b"response.output_item.added", self._place(item))

    def _close(self, sealed: bytes = b"", passed: int = 0) -> bytes:
        """Close the item that is open; `passed`: see `end_message`."""
        if self._kind is None:
            return b""
        text = b"".join(self._pieces)
        closed, item = self._closing(text, sealed, passed)
        closed += self._event(b"response.output_item.done", self._place(item))
        self._items.append(item)
        self._kind, self._summary, self._call = None, None, None
        self._pieces, self._summaries, self._logprobs = [], [], []
        return closed

    def _closing(self, text: bytes, sealed: bytes, passed: int) -> tuple[bytes, bytes]:
        """The events that end the open item's parts, and the whole item."""
        if self._kind is ToolCallStarted:
            return self._closing_call(text)
        if self._kind is ReasoningDelta:
            return self._closing_reasoning(text, sealed)
        status = b"incomplete" if self._finished.reason in _INCOMPLETE else b"completed"
        place, logprobs = self._part_place(), b",".join(self._logprobs)
        if self._kind is TextDelta:
            part = b'{"type":"output_text","text":"%b","annotations":[],"logprobs":[%b]}' % (text, logprobs)
            said = b'%b,"text":"%b","logprobs":[%b]' % (place, text, logprobs)
            done = self._event(b"response.output_text.done", said) if passed < 1 else b""
        else:
            part = b'{"type":"refusal","refusal":"%b"}' % text
            done = self._event(b"response.refusal.done", b'%b,"refusal":"%b"' % (place, text))
        done += self._event(b"response.content_part.done", b'%b,"part":%b' % (place, part)) if passed < 2 else b""
        item = b'{"type":"message","id":"%b","status":"%b","role":"assistant","content":[%b]}'
        return done, item % (self._item_id, status, part)

    def _closing_call(self, text: bytes) -> tuple[bytes, bytes]:
        if self._call is not None and self._call.custom:
            kind, body = b"response.custom_tool_call_input.done", b'"input":"%b"' % text
        else:
            name = _encode(self._call.name if self._call is not None else "")
            kind, body = b"response.function_call_arguments.done", b'"name":%b,"arguments":"%b"' % (name, text)
        place = b'"item_id":"%b","output_index":%d,' % (self._item_id, len(self._items))
        return self._event(kind, place + body), self._call_item(text, b"completed")

    def _call_item(self, text: bytes, status: bytes) -> bytes:
        call = self._call or ToolCallStarted("", "")
        item = write_call(ToolCall(call.call_id, call.name, "", call.custom, call.namespace))
        what = b"input" if call.custom else b"arguments"
        empty = _encode(item)
        filled = empty.replace(b'"%b":""' % what, b'"%b":"%b"' % (what, text), 1) if text else empty
        return b'{"id":"%b","status":"%b",%b' % (self._item_id, status, filled[1:])

    def _closing_reasoning(self, text: bytes, sealed: bytes) -> tuple[bytes, bytes]:
        closed = self._close_summary()
        content = b""
        if self._pieces:
            part = b'{"type":"reasoning_text","text":"%b"}' % text
            place = self._part_place()
            closed += self._event(b"response.reasoning_text.done", b'%b,"text":"%b"' % (place, text))
            closed += self._event(b"response.content_part.done", b'%b,"part":%b' % (place, part))
            content = b',"content":[%b]' % part
        summaries = b",".join(b'{"type":"summary_text","text":"%b"}' % summary for summary in self._summaries)
        item = b'{"type":"reasoning","id":"%b","summary":[%b]%b%b}' % (self._item_id, summaries, content, sealed)
        return closed, item

    def _close_summary(self) -> bytes:
        if self._summary is None:
            return b""
        self._summary = None
        text, place = self._summaries[-1], self._summary_place()
        done = self._event(b"response.reasoning_summary_text.done", b'%b,"text":"%b"' % (place, text))
        part = b'{"type":"summary_text","text":"%b"}' % text
        return done + self._event(b"response.reasoning_summary_part.done", b'%b,"part":%b' % (place, part))


def write_answer(answer: Answer, request: Request, answer_id: str) -> bytes:
    """A whole response."""
    writer = ResponsesStreamWriter(request, answer_id, answer.created_s)
    writer.write_all(unfold(answer))
    cut = any(choice.finish in _INCOMPLETE for choice in answer.choices)
    return writer.response(b"incomplete" if cut else b"completed")
