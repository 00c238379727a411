"""Answers of a Responses backend, whole or streamed, read into events.

Deltas are taken where a backend sends them; what an `output_item.done` holds beyond its deltas is added then, so a
backend that sends items only whole (or leaves out indices) is read as well.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Raw

from headrace.errors import BackendError
from headrace.wire.apis.errors import BROKEN, failure, said_failure
from headrace.wire.apis.responses.items import ReasoningItem, read_reasoning
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
    RefusalDelta,
    Started,
    SummaryDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallDone,
    ToolCallStarted,
    Usage,
    fold,
)
from headrace.wire.sse import EventReader
from headrace.wire.usage import DONE_DATA


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class ResponsesUsage(msgspec.Struct, gc=False):
    """`usage` as Responses spells it."""

    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    def usage(self) -> Usage:
        """The neutral form; never negative."""
        read, written = self.input_tokens_details or _InputDetails(), self.output_tokens_details or _OutputDetails()
        counts = (
            self.input_tokens,
            self.output_tokens,
            read.cached_tokens,
            read.cache_write_tokens,
            written.reasoning_tokens,
        )
        return Usage(*(max(count or 0, 0) for count in counts))


class _Part(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    refusal: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


class _Item(msgspec.Struct, gc=False):
    """An output item, as far as every type of them goes; the whole of it is kept beside it."""

    type: str
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Raw = NULL
    input: Raw = NULL
    content: Raw = NULL


class _Incomplete(msgspec.Struct, gc=False):
    reason: str | None = None


class _Response(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    status: str | None = None
    output: list[Raw] | None = None
    usage: ResponsesUsage | None = None
    incomplete_details: _Incomplete | None = None
    error: Raw = NULL


class _Delta(msgspec.Struct, gc=False):
    """An event of a stream: the fields that the frequent ones have."""

    type: str
    delta: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    summary_index: int = 0
    item_id: str | None = None
    item: Raw = NULL
    response: Raw = NULL


_events = msgspec.json.Decoder(_Delta)
_items = msgspec.json.Decoder(_Item)
_responses = msgspec.json.Decoder(_Response)
_contents = msgspec.json.Decoder(list[_Part])
_texts = msgspec.json.Decoder(str | None)
_reasonings = msgspec.json.Decoder(ReasoningItem)
_CALLS = frozenset(("function_call", "custom_tool_call"))


class ResponsesStreamReader:
    """Reads the stream of a Responses backend."""

    def __init__(self, tools: ToolNames) -> None:
        self._sse = EventReader()
        self._over = False
        self._started = False
        self._called = False
        self._seen: set[str] = set()  # kinds of deltas that came for the item that is open
        self._call: str | None = None  # the open call's item id, or "" if it has none
        self._handlers: dict[str, Callable[[_Delta, list[Event]], None]] = {
            "response.created": self._start,
            "response.output_text.delta": self._text,
            "response.reasoning_text.delta": self._reasoning,
            "response.reasoning_summary_text.delta": self._summary,
            "response.refusal.delta": self._refusal,
            "response.output_item.added": self._added,
            "response.function_call_arguments.delta": self._arguments,
            "response.custom_tool_call_input.delta": self._arguments,
            "response.output_item.done": self._done,
            "response.completed": self._complete,
            "response.incomplete": self._complete,
        }

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete with these bytes."""
        events: list[Event] = []
        if self._over:
            return events
        try:
            for payload in self._sse.feed(data):
                if payload != DONE_DATA:
                    self._read(payload, events)
                if self._over:
                    break
        except (*NOT_JSON, ValueError) as error:
            self._fail(events, f"the backend's stream cannot be read: {error}")
        return events

    def close(self, explicit: bool) -> list[Event]:
        """What the end of the body means: before `response.completed`, that the answer was cut off."""
        events = self.feed(b"\n\n") if explicit else []
        if not self._over:
            self._fail(events, BROKEN)
        return events

    def read_whole(self, body: bytes) -> list[Event]:
        """The events of a response object. Raises ValueError or msgspec's errors: it is none."""
        events: list[Event] = []
        response = _responses.decode(body)
        if response.status in ("failed", "cancelled", "queued", "in_progress") or bytes(response.error) != b"null":
            return [said_failure(body)]
        if response.status not in ("completed", "incomplete"):
            raise ValueError(f"a response's status is {response.status!r}")
        events.append(Started(response.id or "", response.model or "", int(response.created_at or 0)))
        for raw in response.output or ():
            self._seen.clear()
            self._whole_item(raw, events)
        self._finish(response, events)
        return events

    def _read(self, payload: bytes, events: list[Event]) -> None:
        event = _events.decode(payload)
        handler = self._handlers.get(event.type)
        if handler is not None:
            handler(event, events)
        elif event.type in ("error", "response.failed"):
            events.append(said_failure(payload))
            self._over = True

    def _start(self, event: _Delta, events: list[Event]) -> None:
        if not self._started:
            self._started = True
            response = _responses.decode(event.response)
            events.append(Started(response.id or "", response.model or "", int(response.created_at or 0)))

    def _text(self, event: _Delta, events: list[Event]) -> None:
        self._seen.add("text")
        if event.delta:
            events.append(TextDelta(event.delta, 0, event.logprobs or ()))

    def _reasoning(self, event: _Delta, events: list[Event]) -> None:
        self._seen.add("reasoning")
        if event.delta:
            events.append(ReasoningDelta(event.delta))

    def _summary(self, event: _Delta, events: list[Event]) -> None:
        self._seen.add("summary")
        if event.delta:
            events.append(SummaryDelta(event.delta, event.summary_index))

    def _refusal(self, event: _Delta, events: list[Event]) -> None:
        self._seen.add("refusal")
        if event.delta:
            events.append(RefusalDelta(event.delta))

    def _arguments(self, event: _Delta, events: list[Event]) -> None:
        if self._call is None or (event.item_id and self._call and event.item_id != self._call):
            raise ValueError("a tool call goes on that did not begin, or two calls are interleaved")
        if event.delta:
            self._seen.add("arguments")
            events.append(ToolCallDelta(event.delta))

    def _added(self, event: _Delta, events: list[Event]) -> None:
        self._seen.clear()
        self._call = None
        item = _items.decode(event.item)
        if item.type in _CALLS:
            self._open_call(item, events)

    def _open_call(self, item: _Item, events: list[Event]) -> None:
        if not item.call_id or not item.name:
            raise ValueError("a tool call has no call_id or name")
        self._call, self._called = item.id or "", True
        events.append(ToolCallStarted(item.call_id, item.name, item.type == "custom_tool_call", item.namespace))

    def _done(self, event: _Delta, events: list[Event]) -> None:
        self._whole_item(event.item, events)
        self._seen.clear()
        self._call = None

    def _whole_item(self, raw: Raw, events: list[Event]) -> None:
        """What a finished item says beyond its deltas."""
        item = _items.decode(raw)
        if item.type in _CALLS:
            self._whole_call(item, events)
        elif item.type == "message":
            self._whole_message(item, events)
        elif item.type == "reasoning":
            self._whole_reasoning(_reasonings.decode(raw), events)
        else:
            events.append(Opaque("responses", item.type, raw))

    def _whole_call(self, item: _Item, events: list[Event]) -> None:
        if self._call is None:
            self._open_call(item, events)
        if "arguments" not in self._seen:
            custom = item.type == "custom_tool_call"
            text = _texts.decode(item.input if custom else item.arguments) or ("" if custom else "{}")
            if text:
                events.append(ToolCallDelta(text))
        events.append(ToolCallDone())
        self._call = None

    def _whole_message(self, item: _Item, events: list[Event]) -> None:
        for part in _contents.decode(item.content) if bytes(item.content) != b"null" else ():
            if part.text and "text" not in self._seen:
                events.append(TextDelta(part.text, 0, part.logprobs or ()))
            if part.refusal and "refusal" not in self._seen:
                events.append(RefusalDelta(part.refusal))

    def _whole_reasoning(self, item: ReasoningItem, events: list[Event]) -> None:
        reasoning = read_reasoning(item)
        if "summary" not in self._seen:
            events += [SummaryDelta(text, at) for at, text in enumerate(reasoning.summary)]
        if reasoning.text and "reasoning" not in self._seen:
            events.append(ReasoningDelta(reasoning.text))
        if reasoning.seal is not None:
            events.append(ReasoningSealed(reasoning.seal))

    def _complete(self, event: _Delta, events: list[Event]) -> None:
        self._finish(_responses.decode(event.response), events)

    def _finish(self, response: _Response, events: list[Event]) -> None:
        reason: FinishReason = "tool_calls" if self._called else "stop"
        if response.status == "incomplete":
            cut = response.incomplete_details.reason if response.incomplete_details else None
            reason = "content_filter" if cut == "content_filter" else "length"
        events.append(Finished(reason))
        if response.usage is not None:
            events.append(response.usage.usage())
        events.append(Ended())
        self._over = True

    def _fail(self, events: list[Event], message: str) -> None:
        events.append(failure(message))
        self._over = True


def read_answer(body: bytes, tools: ToolNames) -> Answer:
    """A whole response.

    Raises:
        BackendError: it is none, or did not come to an end.
    """
    try:
        return fold(ResponsesStreamReader(tools).read_whole(body))
    except (*NOT_JSON, ValueError) as error:
        raise BackendError(f"the backend's answer is not a response: {error}") from None
