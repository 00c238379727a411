"""Answers of a Messages backend, whole or streamed, read into events.

Usage comes in two places and is cumulative: the input at the beginning, the output at the end. Tokens read from a
cache or written to one are beside `input_tokens` here; in the neutral form they are inside.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Raw

from headrace.errors import BackendError
from headrace.wire.apis.errors import BROKEN, failure, said_failure
from headrace.wire.apis.freeform import Unwrapper
from headrace.wire.apis.seals import restored
from headrace.wire.apis.tool_names import ToolNames
from headrace.wire.body import NOT_JSON, NULL
from headrace.wire.canonical import (
    Answer,
    Ended,
    Event,
    Finished,
    FinishReason,
    Opaque,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallDone,
    ToolCallStarted,
    Usage,
    fold,
)
from headrace.wire.sse import EventReader

_REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class _OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class MessagesUsage(msgspec.Struct, gc=False):
    """`usage` as Messages spells it: what a cache gave or took is beside `input_tokens`."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None

    def usage(self) -> Usage:
        """The neutral form; never negative."""
        read, written = max(self.cache_read_input_tokens or 0, 0), max(self.cache_creation_input_tokens or 0, 0)
        details = self.output_tokens_details
        thinking = (details.thinking_tokens or 0) if details is not None else 0
        fresh, output = max(self.input_tokens or 0, 0), max(self.output_tokens or 0, 0)
        return Usage(fresh + read + written, output, read, written, max(thinking, 0))


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Block(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = NULL


class _Message(msgspec.Struct, gc=False):
    type: str = ""
    id: str | None = None
    model: str | None = None
    content: list[Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: MessagesUsage | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    delta: _Delta | None = None
    content_block: Raw = NULL
    message: _Message | None = None
    usage: MessagesUsage | None = None


_events = msgspec.json.Decoder(_Event)
_blocks = msgspec.json.Decoder(_Block)
_messages = msgspec.json.Decoder(_Message)
_OURS = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))


class MessagesStreamReader:
    """Reads the stream of a Messages backend."""

    def __init__(self, tools: ToolNames) -> None:
        self._tools = tools
        self._sse = EventReader()
        self._over = False
        self._finished = False
        self._counts = MessagesUsage()
        self._kind = ""  # type of the block that is open
        self._signature = ""
        self._unwrapper: Unwrapper | None = None
        self._empty = True
        self._handlers: dict[str, Callable[[_Event, list[Event]], None]] = {
            "content_block_delta": self._block_delta,
            "message_start": self._start,
            "content_block_start": self._block_start,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._stop,
        }
        self._deltas: dict[str, Callable[[_Delta, list[Event]], None]] = {
            "text_delta": self._text,
            "thinking_delta": self._thinking,
            "signature_delta": self._sign,
            "input_json_delta": self._arguments,
        }

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete with these bytes."""
        events: list[Event] = []
        if self._over:
            return events
        try:
            for payload in self._sse.feed(data):
                self._read(payload, events)
                if self._over:
                    break
        except (*NOT_JSON, ValueError) as error:
            self._fail(events, f"the backend's stream cannot be read: {error}")
        return events

    def close(self, explicit: bool) -> list[Event]:
        """What the end of the body means: before `message_stop`, that the answer was cut off."""
        events = self.feed(b"\n\n") if explicit else []
        if not self._over:
            self._fail(events, BROKEN)
        return events

    def read_whole(self, body: bytes) -> list[Event]:
        """The events of a message. Raises ValueError or msgspec's errors: it is none."""
        message = _messages.decode(body)
        if message.type == "error":
            return [said_failure(body)]
        if message.type != "message" or message.stop_reason is None:
            raise ValueError("it is no message, or has no stop_reason")
        events: list[Event] = [Started(message.id or "", message.model or "")]
        for raw in message.content or ():
            block = _blocks.decode(raw)
            self._open(block, raw, events)
            if block.type == "tool_use" and bytes(block.input) != b"null":
                self._take_arguments(bytes(block.input).decode(), events)
            self._close_block(events)
        self._count(message.usage)
        self._finish(message.stop_reason, message.stop_sequence, events)
        self._end(events)
        return events

    def _read(self, payload: bytes, events: list[Event]) -> None:
        event = _events.decode(payload)
        handler = self._handlers.get(event.type)
        if handler is not None:
            handler(event, events)
        elif event.type == "error":
            events.append(said_failure(payload))
            self._over = True

    def _start(self, event: _Event, events: list[Event]) -> None:
        message = event.message or _Message()
        self._count(message.usage)
        events.append(Started(message.id or "", message.model or ""))

    def _block_start(self, event: _Event, events: list[Event]) -> None:
        self._open(_blocks.decode(event.content_block), event.content_block, events)

    def _open(self, block: _Block, raw: Raw, events: list[Event]) -> None:
        """Begin a block with what it holds at once: in a stream nothing, in a whole message everything."""
        self._kind, self._signature, self._empty, self._unwrapper = block.type, block.signature or "", True, None
        if block.type == "tool_use":
            self._open_call(block, events)
        elif block.type == "redacted_thinking":
            events.append(ReasoningSealed(restored(block.data or "", "messages", redacted=True)))
        elif block.type not in _OURS:
            events.append(Opaque("messages", block.type, raw))
        if block.text:
            events.append(TextDelta(block.text))
        if block.thinking:
            events.append(ReasoningDelta(block.thinking))

    def _open_call(self, block: _Block, events: list[Event]) -> None:
        if not block.id or not block.name:
            raise ValueError("a tool_use block has no id or name")
        name = self._tools.find(block.name)
        self._unwrapper = Unwrapper() if name.wrapped else None
        events.append(ToolCallStarted(block.id, name.name, name.custom, name.namespace))

    def _block_delta(self, event: _Event, events: list[Event]) -> None:
        delta = event.delta
        if delta is not None:
            handler = self._deltas.get(delta.type)
            if handler is not None:
                handler(delta, events)

    def _text(self, delta: _Delta, events: list[Event]) -> None:
        if delta.text:
            events.append(TextDelta(delta.text))

    def _thinking(self, delta: _Delta, events: list[Event]) -> None:
        if delta.thinking:
            events.append(ReasoningDelta(delta.thinking))

    def _sign(self, delta: _Delta, events: list[Event]) -> None:
        self._signature += delta.signature or ""

    def _arguments(self, delta: _Delta, events: list[Event]) -> None:
        if self._kind == "tool_use" and delta.partial_json:
            self._take_arguments(delta.partial_json, events)

    def _take_arguments(self, text: str, events: list[Event]) -> None:
        if self._unwrapper is not None:
            text = self._unwrapper.feed(text)
        if text:
            self._empty = False
            events.append(ToolCallDelta(text))

    def _block_stop(self, event: _Event, events: list[Event]) -> None:
        self._close_block(events)

    def _close_block(self, events: list[Event]) -> None:
        if self._kind == "tool_use":
            rest = self._unwrapper.close() if self._unwrapper is not None else "{}" if self._empty else ""
            if rest:
                events.append(ToolCallDelta(rest))
            events.append(ToolCallDone())
        elif self._kind == "thinking" and self._signature:
            events.append(ReasoningSealed(restored(self._signature, "messages")))
        self._kind = ""

    def _message_delta(self, event: _Event, events: list[Event]) -> None:
        self._count(event.usage)
        if event.delta is not None and event.delta.stop_reason is not None:
            self._finish(event.delta.stop_reason, event.delta.stop_sequence, events)

    def _finish(self, reason: str, stop_sequence: str | None, events: list[Event]) -> None:
        self._finished = True
        events.append(Finished(_REASONS.get(reason, "stop"), 0, stop_sequence))

    def _stop(self, event: _Event, events: list[Event]) -> None:
        if not self._finished:
            self._fail(events, BROKEN)
        else:
            self._end(events)

    def _end(self, events: list[Event]) -> None:
        if self._counts.output_tokens is not None:
            events.append(self._counts.usage())
        events.append(Ended())
        self._over = True

    def _count(self, usage: MessagesUsage | None) -> None:
        """Later counts stand for earlier ones, where they are given."""
        if usage is None:
            return
        for name in MessagesUsage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None:
                setattr(self._counts, name, value)

    def _fail(self, events: list[Event], message: str) -> None:
        events.append(failure(message))
        self._over = True


def read_answer(body: bytes, tools: ToolNames) -> Answer:
    """A whole message.

    Raises:
        BackendError: it is none, or did not come to an end.
    """
    try:
        return fold(MessagesStreamReader(tools).read_whole(body))
    except (*NOT_JSON, ValueError) as error:
        raise BackendError(f"the backend's answer is not a message: {error}") from None
