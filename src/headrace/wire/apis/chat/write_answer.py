"""Answers for a chat client, written from events: one template a chunk, filled with the encoded text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace.wire.apis.errors import error_body
from headrace.wire.apis.tool_names import wire_name
from headrace.wire.canonical import (
    Answer,
    Choice,
    Ended,
    Event,
    Failed,
    Finished,
    Opaque,
    Reasoning,
    ReasoningDelta,
    ReasoningSealed,
    Refusal,
    RefusalDelta,
    Request,
    Started,
    SummaryDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolCallDone,
    ToolCallStarted,
    Usage,
)
from headrace.wire.chat import CHUNK, COMPLETION, DONE, chat_usage

_encode = msgspec.json.Encoder().encode
_NOTHING = b""


class ChatStreamWriter:
    """Writes the stream of a chat client."""

    def __init__(self, request: Request, answer_id: str, created_s: int) -> None:
        self._id = "chatcmpl-" + answer_id
        self._model = request.model
        self._created_s = created_s
        self._include_usage = request.include_usage
        self._usage: Usage | None = None
        self._begun: set[int] = set()
        self._calls: dict[int, int] = {}
        self._custom: dict[int, bool] = {}
        self._head = _NOTHING
        self._text: dict[int, bytes] = {}
        self._writers: dict[type, Callable[[Any], bytes]] = {
            TextDelta: self._write_text,
            ReasoningDelta: lambda event: self._chunk(event.choice, b'"reasoning_content":%b' % _encode(event.text)),
            SummaryDelta: lambda event: self._chunk(event.choice, b'"reasoning_content":%b' % _encode(event.text)),
            RefusalDelta: lambda event: self._chunk(event.choice, b'"refusal":%b' % _encode(event.text)),
            ToolCallStarted: self._write_call,
            ToolCallDelta: self._write_arguments,
            Finished: self._write_finish,
            Started: self._write_start,
            Usage: self._keep_usage,
            Ended: self._write_end,
            Failed: lambda event: b"data: %b\n\n" % error_body(event),
            ToolCallDone: _nothing,
            ReasoningSealed: _nothing,
            Opaque: _nothing,
        }
        self._write_start(Started())

    def go_on(self, head: bytes) -> None:
        """Go on in the middle of an answer whose chunks begin with `head`, as `chat.CHUNK` does."""
        self._head = head
        self._begun.add(0)
        self._text[0] = head + b'"choices":[{"index":0,"delta":{"content":'

    def write(self, event: Event) -> bytes:
        """The bytes that say this event; empty where there is nothing to say."""
        return self._writers[type(event)](event)

    def write_all(self, events: list[Event]) -> bytes:
        """The bytes of several events."""
        writers = self._writers
        return b"".join([writers[type(event)](event) for event in events])

    def _write_start(self, event: Started) -> bytes:
        self._head = CHUNK % (
            _encode(self._id),
            event.created_s or self._created_s,
            _encode(event.model or self._model),
        )
        self._text.clear()
        return _NOTHING

    def _write_text(self, event: TextDelta) -> bytes:
        if event.logprobs:
            logprobs = b'{"content":%b,"refusal":null}' % _encode(event.logprobs)
            return self._chunk(event.choice, b'"content":%b' % _encode(event.text), logprobs)
        head = self._text.get(event.choice)
        if head is None:
            begun = self._chunk(event.choice, b'"content":""', role=True)
            self._text[event.choice] = b'%b"choices":[{"index":%d,"delta":{"content":' % (self._head, event.choice)
            return begun + self._write_text(event)
        return b'%b%b},"logprobs":null,"finish_reason":null}]}\n\n' % (head, _encode(event.text))

    def _chunk(
        self, choice: int, delta: bytes, logprobs: bytes = b"null", finish: bytes = b"null", role: bool = False
    ) -> bytes:
        if choice not in self._begun:
            self._begun.add(choice)
            delta = b'"role":"assistant",' + delta if delta else b'"role":"assistant"'
        elif role:
            return _NOTHING
        return b'%b"choices":[{"index":%d,"delta":{%b},"logprobs":%b,"finish_reason":%b}]}\n\n' % (
            self._head,
            choice,
            delta,
            logprobs,
            finish,
        )

    def _write_call(self, event: ToolCallStarted) -> bytes:
        index = self._calls[event.choice] = self._calls.get(event.choice, -1) + 1
        self._custom[event.choice] = event.custom
        name = _encode(wire_name(event.name, event.namespace))
        kind, what = (b"custom", b"input") if event.custom else (b"function", b"arguments")
        call = b'"tool_calls":[{"index":%d,"id":%b,"type":"%b","%b":{"name":%b,"%b":""}}]'
        return self._chunk(event.choice, call % (index, _encode(event.call_id), kind, kind, name, what))

    def _write_arguments(self, event: ToolCallDelta) -> bytes:
        kind, what = (b"custom", b"input") if self._custom.get(event.choice) else (b"function", b"arguments")
        call = b'"tool_calls":[{"index":%d,"type":"%b","%b":{"%b":%b}}]'  # the SDK of Cerebras wants `type` each time
        index = self._calls.get(event.choice, 0)
        return self._chunk(event.choice, call % (index, kind, kind, what, _encode(event.text)))

    def _write_finish(self, event: Finished) -> bytes:
        return self._chunk(event.choice, _NOTHING, finish=_encode(event.reason))

    def _keep_usage(self, event: Usage) -> bytes:
        self._usage = event
        return _NOTHING

    def _write_end(self, event: Ended) -> bytes:
        if not self._include_usage or self._usage is None:
            return DONE
        return b'%b"choices":[],"usage":%b}\n\n%b' % (self._head, chat_usage(self._usage), DONE)


def _nothing(event: Event) -> bytes:
    return _NOTHING


def write_answer(answer: Answer, request: Request, answer_id: str) -> bytes:
    """A whole chat completion."""
    return (COMPLETION + b'"choices":[%b]%b}') % (
        _encode("chatcmpl-" + answer_id),
        answer.created_s,
        _encode(answer.model or request.model),
        b",".join(_choice(choice, index) for index, choice in enumerate(answer.choices)),
        b"" if answer.usage is None else b',"usage":' + chat_usage(answer.usage),
    )


def _choice(choice: Choice, index: int) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text or None, "refusal": None}
    refusal = "".join(part.text for part in choice.parts if isinstance(part, Refusal))
    thoughts = [part.text or "\n\n".join(part.summary) for part in choice.parts if isinstance(part, Reasoning)]
    calls = [_call(part) for part in choice.parts if isinstance(part, ToolCall)]
    if refusal:
        message["refusal"] = refusal
    if any(thoughts):
        message["reasoning_content"] = "\n".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    elif message["content"] is None and not refusal:
        message["content"] = ""
    logprobs = _encode(_logprobs(choice.logprobs))
    return b'{"index":%d,"message":%b,"logprobs":%b,"finish_reason":"%b"}' % (
        index,
        _encode(message),
        logprobs,
        choice.finish.encode(),
    )


def _logprobs(logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
    return {"content": logprobs, "refusal": None} if logprobs else None


def _call(call: ToolCall) -> dict[str, Any]:
    name = wire_name(call.name, call.namespace)
    if call.custom:
        return {"id": call.call_id, "type": "custom", "custom": {"name": name, "input": call.arguments}}
    return {"id": call.call_id, "type": "function", "function": {"name": name, "arguments": call.arguments}}
