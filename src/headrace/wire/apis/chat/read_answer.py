"""Answers of a chat backend, whole or streamed, read into events.

Backends differ in small things, and all of them are taken: reasoning as `reasoning` or `reasoning_content`, usage in a
chunk of its own, on the last chunk or in `x_groq`, errors inside a 200 stream in four shapes, and `[DONE]` after an
error. A finish reason `abort` (vLLM, SGLang) or `error` is a failure, whatever the status says.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from headrace.errors import BackendError
from headrace.wire.apis.errors import BROKEN, failure, said_failure
from headrace.wire.apis.freeform import Unwrapper
from headrace.wire.apis.tool_names import ToolNames
from headrace.wire.body import NOT_JSON, NULL
from headrace.wire.canonical import (
    Answer,
    Ended,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallDone,
    ToolCallStarted,
    fold,
)
from headrace.wire.sse import EventReader
from headrace.wire.usage import DONE_DATA, ChatUsage, GroqExtra

_ABORTED = frozenset(("abort", "error", "cancelled"))
_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "repetition": "length",  # vLLM: cut off because it repeated itself
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Custom(msgspec.Struct, gc=False):
    name: str | None = None
    input: str | None = None


class _Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None


class _Delta(msgspec.Struct, gc=False):
    """A chunk's `delta`, or a whole answer's `message`: the latter is a delta that says everything at once."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Logprobs(msgspec.Struct, gc=False):
    """Log probabilities: of chat `content`, of completions the rest."""

    content: tuple[TokenLogprob, ...] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class ChatChoice(msgspec.Struct, gc=False):
    """A choice of a chunk, of a whole chat completion, or of a completion (`text`)."""

    index: int = 0
    text: str | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    stop_reason: str | int | None = None  # vLLM: the stop string or token
    matched_stop: str | int | None = None  # SGLang: the same

    def stop_sequence(self) -> str | None:
        """The stop string that ended the choice, where the backend says so."""
        found = self.stop_reason if self.stop_reason is not None else self.matched_stop
        return found if isinstance(found, str) else None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[ChatChoice] | None = None
    usage: ChatUsage | None = None
    x_groq: GroqExtra | None = None
    error: Raw = NULL


class _Head(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    created: float | None = None


_chunks = msgspec.json.Decoder(_Chunk)
_heads = msgspec.json.Decoder(_Head)


class _OpenCall:
    """The tool call of one choice that is open."""

    __slots__ = ("empty", "index", "unwrapper")

    def __init__(self, index: int, unwrapper: Unwrapper | None, custom: bool) -> None:
        self.index = index
        self.unwrapper = unwrapper
        self.empty = not custom  # a function's arguments are a JSON object: none at all are an empty one


class ChatStreamReader:
    """Reads the stream of a chat backend."""

    def __init__(self, tools: ToolNames) -> None:
        self._tools = tools
        self._sse = EventReader()
        self._started = False
        self._over = False  # Ended or Failed has been given
        self._open: dict[int, _OpenCall] = {}  # by choice
        self._calls: dict[int, int] = {}  # calls so far, by choice
        self._unfinished: set[int] = set()
        self._finished: set[int] = set()

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
        """What the end of the body means: without `[DONE]`, one that finished and was framed to its end is whole."""
        events: list[Event] = []
        if not self._over and explicit:
            events += self.feed(b"\n\n")
        if not self._over:
            self._end(events, explicit)
        return events

    def read_whole(self, body: bytes) -> list[Event]:
        """The events of an answer that came in one body. Raises ValueError or msgspec's errors: it cannot be read."""
        events: list[Event] = []
        self._read(body, events)
        if not self._over:
            self._end(events, True)
        return events

    def _read(self, payload: bytes, events: list[Event]) -> None:
        if payload == DONE_DATA:
            self._end(events, True)
            return
        chunk = _chunks.decode(payload)
        if chunk.error is not NULL and bytes(chunk.error) != b"null":
            events.append(said_failure(payload))
            self._over = True
            return
        if not self._started:
            self._start(payload, events)
        choices = chunk.choices
        if choices:
            for choice in choices:
                self._read_choice(choice, events)
        if chunk.usage is not None:
            events.append(chunk.usage.usage())
        if chunk.x_groq is not None:
            if chunk.x_groq.error is not None:
                self._fail(events, chunk.x_groq.error)
            elif chunk.x_groq.usage is not None and chunk.usage is None:
                events.append(chunk.x_groq.usage.usage())

    def _start(self, payload: bytes, events: list[Event]) -> None:
        self._started = True
        head = _heads.decode(payload)
        events.append(Started(head.id or "", head.model or "", int(head.created or 0)))

    def _read_choice(self, choice: ChatChoice, events: list[Event]) -> None:
        index = choice.index
        self._read_delta(choice, index, events)
        if choice.finish_reason:
            self._finish(choice, choice.finish_reason, index, events)
        elif index not in self._finished:
            self._unfinished.add(index)

    def _read_delta(self, choice: ChatChoice, index: int, events: list[Event]) -> None:
        delta = choice.delta or choice.message
        if delta is None:
            return
        if delta.content:
            if index in self._open:
                self._close_call(index, events)
            logprobs = choice.logprobs
            events.append(TextDelta(delta.content, index, (logprobs.content or ()) if logprobs else ()))
        if delta.reasoning or delta.reasoning_content or delta.refusal or delta.tool_calls:
            self._read_rest(delta, index, events)

    def _read_rest(self, delta: _Delta, index: int, events: list[Event]) -> None:
        thought = delta.reasoning or delta.reasoning_content
        if thought:
            reasoning = ReasoningDelta(thought, index)
            # A whole message says both at once: it thought before it spoke.
            at = len(events) - 1 if delta.content else len(events)
            events.insert(at, reasoning)
        if delta.refusal:
            self._close_call(index, events)
            events.append(RefusalDelta(delta.refusal, index))
        for at, call in enumerate(delta.tool_calls or ()):
            self._read_call(call, call.index if call.index is not None else at, index, events)

    def _read_call(self, call: _Call, call_index: int, index: int, events: list[Event]) -> None:
        open_call = self._open.get(index)
        if open_call is None or open_call.index != call_index:
            self._close_call(index, events)
            open_call = self._open_call(call, call_index, index, events)
        text = (call.function.arguments if call.function else call.custom.input if call.custom else None) or ""
        if open_call.unwrapper is not None:
            text = open_call.unwrapper.feed(text)
        if text:
            open_call.empty = False
            events.append(ToolCallDelta(text, index))

    def _open_call(self, call: _Call, call_index: int, index: int, events: list[Event]) -> _OpenCall:
        called = call.function or call.custom
        if called is None or not called.name:
            raise ValueError("a tool call goes on that did not begin, or two calls are interleaved")
        name = self._tools.find(called.name)
        count = self._calls[index] = self._calls.get(index, 0) + 1
        call_id = call.id or f"call_{index}_{count}"
        custom = name.custom or call.custom is not None
        events.append(ToolCallStarted(call_id, name.name, custom, name.namespace, index))
        unwrapper = Unwrapper() if name.wrapped and call.function else None
        self._open[index] = opened = _OpenCall(call_index, unwrapper, custom)
        return opened

    def _close_call(self, index: int, events: list[Event]) -> None:
        open_call = self._open.pop(index, None)
        if open_call is None:
            return
        rest = open_call.unwrapper.close() if open_call.unwrapper is not None else "{}" if open_call.empty else ""
        if rest:
            events.append(ToolCallDelta(rest, index))
        events.append(ToolCallDone(index))

    def _finish(self, choice: ChatChoice, reason: str, index: int, events: list[Event]) -> None:
        self._close_call(index, events)
        if reason in _ABORTED:
            self._fail(events, f"the backend stopped its answer: finish_reason {reason!r}")
            return
        if index in self._finished:
            return
        known = _REASONS.get(reason, "stop")
        if known == "stop" and self._calls.get(index):
            known = "tool_calls"
        self._unfinished.discard(index)
        self._finished.add(index)
        events.append(Finished(known, index, choice.stop_sequence()))

    def _end(self, events: list[Event], explicit: bool) -> None:
        if self._over:
            return
        if explicit and self._finished and not self._unfinished:
            events.append(Ended())
            self._over = True
        else:
            self._fail(events, BROKEN)

    def _fail(self, events: list[Event], message: str) -> None:
        events.append(failure(message))
        self._over = True


def read_answer(body: bytes, tools: ToolNames) -> Answer:
    """A whole chat completion.

    Raises:
        BackendError: it is none, carries an error, or has no finish reason.
    """
    try:
        return fold(ChatStreamReader(tools).read_whole(body))
    except (*NOT_JSON, ValueError) as error:
        raise BackendError(f"the backend's answer is not a chat completion: {error}") from None
