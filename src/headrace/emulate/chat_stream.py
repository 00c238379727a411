"""A chat answer as each provider writes it: reasoning, usage, times and the little fields that tell providers apart.

The translator's own writer (`wire.apis.chat`) makes one good stream for every client; this one makes each provider's,
odd as it may be, so that what reads them is tried on all.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.wire.canonical import (
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from headrace.wire.dialects import Dialect, ErrorRow
from headrace.wire.dialects import Usage as Place
from headrace.wire.dialects.render import render_stream_error
from headrace.wire.usage import Usage

DONE = b"data: [DONE]\n\n"
OBFUSCATION = "x7Kq"
_encode = msgspec.json.encode


class Times(msgspec.Struct, frozen=True):
    """Seconds that a provider says an answer took."""

    queue_time: float = 0.0
    prompt_time: float = 0.0
    completion_time: float = 0.0
    total_time: float = 0.0


class ProviderChat:
    """Writes one chat answer in one dialect."""

    def __init__(self, dialect: Dialect, answer_id: str, model: str, *, include_usage: bool, with_done: bool) -> None:
        self._dialect = dialect
        self._name = dialect.name.partition("-")[0]
        self._head = {"id": answer_id, "object": "chat.completion.chunk", "created": 0, "model": model}
        self._head |= {"system_fingerprint": "fp_emulated"}
        self._include_usage = include_usage
        self._with_done = with_done
        self._reasoning = dialect.reasoning[0] if dialect.reasoning else None
        self._call = -1
        self._begun = False

    def write(self, event: Event) -> bytes:
        """The bytes that come with this event."""
        match event:
            case TextDelta(text):
                return self._delta({"content": text})
            case ReasoningDelta(text):
                return self._delta({self._reasoning: text}) if self._reasoning else b""
            case ToolCallStarted():
                self._call += 1
                function = {"name": event.name, "arguments": ""}
                call = {"index": self._call, "id": event.call_id, "type": "function", "function": function}
                return self._delta({"tool_calls": [call]})
            case ToolCallDelta(text):
                kind = {"type": "function"} if self._name == "cerebras" else {}  # its SDK wants it each time
                return self._delta({"tool_calls": [{"index": self._call, **kind, "function": {"arguments": text}}]})
        return b""

    def end(self, reason: FinishReason, usage: Usage, times: Times) -> bytes:
        """The last chunks: finish reason, usage where this provider puts it, and the end mark."""
        last = self._chunk({}, reason)
        places, wire = self._dialect.usage, wire_usage(usage)
        if Place.LAST_CHUNK in places:
            last |= {"usage": wire, "time_info": times}
        if Place.X_GROQ in places:
            last["x_groq"] = {"id": "req_emulated", "usage": wire | msgspec.to_builtins(times), "seed": 7}
        if self._name == "llama.cpp":
            last["timings"] = _timings(usage, times)
        out = _event(last)
        if self._include_usage and Place.EXTRA_CHUNK in places and Place.LAST_CHUNK not in places:
            out += _event({**self._head, "choices": [], "usage": wire})
        return out + (DONE if self._dialect.done_marker and self._with_done else b"")

    def whole(self, events: list[Event], reason: FinishReason, usage: Usage, times: Times) -> bytes:
        """The answer as one body."""
        message: dict[str, Any] = {"role": "assistant", "content": _joined(events, TextDelta), "refusal": None}
        thoughts, calls = _joined(events, ReasoningDelta), _calls(events)
        if self._reasoning and (thoughts or self._name == "sglang"):
            message[self._reasoning] = thoughts or None
        if calls:
            message |= {"tool_calls": calls, "content": message["content"] or None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        body = {**self._head, "object": "chat.completion", "choices": [choice], "usage": wire_usage(usage)}
        if self._name == "cerebras":
            body["time_info"] = times
        elif self._name == "groq":
            body["usage"] |= msgspec.to_builtins(times)
            body["x_groq"] = {"id": "req_emulated"}
        elif self._name == "llama.cpp":
            body["timings"] = _timings(usage, times)
        return _encode(body)

    def error(self, row: ErrorRow) -> bytes:
        """The error with which a stream ends."""
        return render_stream_error(self._dialect, row)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        """A piece of the answer; before the first one the role, where it has a chunk of its own."""
        begun, self._begun = self._begun, True
        if begun:
            return _event(self._chunk(delta, None))
        if self._name == "cerebras":
            return _event(self._chunk({"role": "assistant", **delta}, None))
        first = self._chunk({"role": "assistant", "content": ""}, None)
        if self._name == "groq":
            first["x_groq"] = {"id": "req_emulated"}
        return _event(first) + _event(self._chunk(delta, None))

    def _chunk(self, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        if self._name == "sglang":
            delta = {"content": None, "reasoning_content": None, **delta}
        chunk: dict[str, Any] = {**self._head}
        chunk["choices"] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
        if self._dialect.name == "openai":
            chunk["obfuscation"] = OBFUSCATION
        return chunk


def wire_usage(usage: Usage) -> dict[str, Any]:
    """`usage` as chat spells it."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
    }


def _joined(events: list[Event], kind: type[TextDelta] | type[ReasoningDelta]) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def _calls(events: list[Event]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, ToolCallStarted):
            calls.append({"id": event.call_id, "type": "function", "function": {"name": event.name, "arguments": ""}})
        elif isinstance(event, ToolCallDelta):
            calls[-1]["function"]["arguments"] += event.text
    return calls


def _timings(usage: Usage, times: Times) -> dict[str, float]:
    return {
        "cache_n": usage.cached_input_tokens,
        "prompt_n": usage.input_tokens - usage.cached_input_tokens,
        "prompt_ms": 1000.0 * times.prompt_time,
        "predicted_n": usage.output_tokens,
        "predicted_ms": 1000.0 * times.completion_time,
    }


def _event(body: object) -> bytes:
    return b"data: %b\n\n" % _encode(body)
