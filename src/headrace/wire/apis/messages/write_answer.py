"""Answers for a Messages client, written from events: blocks, one after another, each started, filled and stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from headrace.wire.apis.errors import error_body
from headrace.wire.apis.messages.blocks import input_object
from headrace.wire.apis.seals import carried
from headrace.wire.apis.tool_names import wire_name, wrapped_arguments
from headrace.wire.canonical import (
    Answer,
    Choice,
    Ended,
    Event,
    Failed,
    Finished,
    Opaque,
    Part,
    Reasoning,
    ReasoningDelta,
    ReasoningSealed,
    Refusal,
    RefusalDelta,
    Request,
    Started,
    SummaryDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallDone,
    ToolCallStarted,
    Usage,
)

_encode = msgspec.json.Encoder().encode
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_STARTS = {
    "text": b'{"type":"text","text":""}',
    "thinking": b'{"type":"thinking","thinking":"","signature":""}',
}


def stop_reason(finish: str, stop_sequence: str | None, refused: bool) -> str:
    """`stop_reason` of a finish."""
    if refused:
        return "refusal"
    return "stop_sequence" if stop_sequence is not None and finish == "stop" else _REASONS[finish]


class MessagesStreamWriter:
    """Writes the stream of a Messages client."""

    def __init__(self, request: Request, answer_id: str, created_s: int) -> None:
        self._id = answer_id
        self._model = request.model
        self._begun = False
        self._index = -1
        self._kind = ""  # type of the block that is open
        self._delta = b""  # an event of a delta, up to its text
        self._summary = 0  # index of the summary that came last
        self._refused = False
        self._usage = Usage(0, 0)
        self._finished = Finished("stop")
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
            Failed: lambda event: b"event: error\ndata: %b\n\n" % error_body(event, "messages"),
        }

    def go_on(self, index: int, open_text: bool) -> None:
        """Go on in the middle of a message.

        Args:
            index: of the last block that was started.
            open_text: it holds text and has not been stopped.
        """
        self._begun = True
        self._index = index
        if open_text:
            self._fill("text", b"text_delta", b"text")

    def write(self, event: Event) -> bytes:
        """The bytes that say this event; empty where they must wait for another."""
        return self._writers[type(event)](event)

    def write_all(self, events: list[Event]) -> bytes:
        """The bytes of several events."""
        writers = self._writers
        return b"".join([writers[type(event)](event) for event in events])

    def _write_start(self, event: Started) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message = (
            b'{"id":"msg_%b","type":"message","role":"assistant","model":%b,"content":[],"stop_reason":null,'
            b'"stop_sequence":null,"usage":%b}'
        ) % (self._id.encode(), _encode(event.model or self._model), usage_object(Usage(0, 0)))
        return b'event: message_start\ndata: {"type":"message_start","message":%b}\n\n' % message

    def _write_text(self, event: TextDelta) -> bytes:
        if self._kind == "text":
            return b"%b%b}}\n\n" % (self._delta, _encode(event.text))
        return self._open("text", _STARTS["text"], b"text_delta", b"text") + self._write_delta(event.text)

    def _write_refusal(self, event: RefusalDelta) -> bytes:
        self._refused = True
        begin = self._open("text", _STARTS["text"], b"text_delta", b"text") if self._kind != "text" else b""
        return begin + self._write_delta(event.text)

    def _write_reasoning(self, event: ReasoningDelta) -> bytes:
        return self._open_thinking() + self._write_delta(event.text)

    def _write_summary(self, event: SummaryDelta) -> bytes:
        gap = "\n\n" if event.index != self._summary and self._kind == "thinking" else ""
        self._summary = event.index
        return self._open_thinking() + self._write_delta(gap + event.text)

    def _open_thinking(self) -> bytes:
        if self._kind == "thinking":
            return b""
        return self._open("thinking", _STARTS["thinking"], b"thinking_delta", b"thinking")

    def _write_seal(self, event: ReasoningSealed) -> bytes:
        seal = carried(event.seal, "messages")
        if event.seal.redacted and self._kind != "thinking":
            block = b'{"type":"redacted_thinking","data":%b}' % _encode(seal)
            return self._open("redacted_thinking", block, b"", b"") + self._close()
        begin = self._open_thinking()
        signed = b'{"type":"content_block_delta","index":%d,"delta":{"type":"signature_delta","signature":%b}}'
        signature = b"event: content_block_delta\ndata: %b\n\n" % (signed % (self._index, _encode(seal)))
        return begin + signature + self._close()

    def _write_call(self, event: ToolCallStarted) -> bytes:
        name = _encode(wire_name(event.name, event.namespace))
        block = b'{"type":"tool_use","id":%b,"name":%b,"input":{}}' % (_encode(event.call_id), name)
        return self._open("tool_use", block, b"input_json_delta", b"partial_json")

    def _write_arguments(self, event: ToolCallDelta) -> bytes:
        return self._write_delta(event.text)

    def _write_opaque(self, event: Opaque) -> bytes:
        if event.api != "messages":
            return b""
        return self._open(event.kind, bytes(event.raw), b"", b"") + self._close()

    def _write_finish(self, event: Finished) -> bytes:
        self._finished = event
        return self._close()

    def _keep_usage(self, event: Usage) -> bytes:
        self._usage = event
        return b""

    def _write_end(self, event: Ended) -> bytes:
        finished = self._finished
        reason = stop_reason(finished.reason, finished.stop_sequence, self._refused)
        delta = _encode({"stop_reason": reason, "stop_sequence": finished.stop_sequence})
        return (
            b'event: message_delta\ndata: {"type":"message_delta","delta":%b,"usage":%b}\n\n'
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
        ) % (delta, usage_object(self._usage))

    def _write_delta(self, text: str) -> bytes:
        return b"%b%b}}\n\n" % (self._delta, _encode(text))

    def _open(self, kind: str, block: bytes, delta: bytes, field: bytes) -> bytes:
        """Stop the block that is open and start the next.

        Args:
            delta: type of its deltas.
            field: the field that holds their text.
        """
        closed = self._close()
        self._index += 1
        self._fill(kind, delta, field)
        start = b'{"type":"content_block_start","index":%d,"content_block":%b}' % (self._index, block)
        return b"%bevent: content_block_start\ndata: %b\n\n" % (closed, start)

    def _fill(self, kind: str, delta: bytes, field: bytes) -> None:
        """The block of the present index is open: prepare its deltas."""
        self._kind = kind
        self._delta = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
        ) % (self._index, delta, field)

    def _close(self) -> bytes:
        if not self._kind:
            return b""
        self._kind = ""
        return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index


def usage_object(usage: Usage) -> bytes:
    """`usage` as Messages spells it: cached input stands beside the rest, not inside."""
    fresh = max(usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens, 0)
    details = b',"output_tokens_details":{"thinking_tokens":%d}' % usage.reasoning_tokens
    return (
        b'{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d%b}'
    ) % (
        fresh,
        usage.cache_write_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        details if usage.reasoning_tokens else b"",
    )


def write_answer(answer: Answer, request: Request, answer_id: str) -> bytes:
    """A whole message."""
    choice = answer.choices[0]
    refused = any(isinstance(part, Refusal) for part in choice.parts)
    return (
        b'{"id":"msg_%b","type":"message","role":"assistant","model":%b,"content":%b,"stop_reason":"%b",'
        b'"stop_sequence":%b,"usage":%b}'
    ) % (
        answer_id.encode(),
        _encode(answer.model or request.model),
        _encode(_blocks(choice)),
        stop_reason(choice.finish, choice.stop_sequence, refused).encode(),
        _encode(choice.stop_sequence),
        usage_object(answer.usage or Usage(0, 0)),
    )


def _blocks(choice: Choice) -> list[Any]:
    blocks = (_block(part) for part in choice.parts)
    return [block for block in blocks if block is not None]


def _block(part: Part) -> dict[str, Any] | Raw | None:
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text}
        case Reasoning(text, summary, seal):
            if seal is not None and seal.redacted and not text:
                return {"type": "redacted_thinking", "data": carried(seal, "messages")}
            signature = "" if seal is None else carried(seal, "messages")
            return {"type": "thinking", "thinking": text or "\n\n".join(summary), "signature": signature}
        case ToolCall():
            arguments = wrapped_arguments(part.arguments) if part.custom else part.arguments
            name = wire_name(part.name, part.namespace)
            return {"type": "tool_use", "id": part.call_id, "name": name, "input": input_object(arguments)}
        case Opaque(api="messages", raw=raw):
            return raw
    return None


def write_count(input_tokens: int) -> bytes:
    """The answer of `count_tokens`."""
    return b'{"input_tokens":%d}' % input_tokens


def read_count(body: bytes) -> int:
    """The tokens that a backend's `count_tokens` says. Raises msgspec.DecodeError: it says none."""
    return msgspec.json.decode(body, type=_Count).input_tokens


class _Count(msgspec.Struct):
    input_tokens: int
