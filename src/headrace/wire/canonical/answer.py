"""A whole answer in neutral form: the fold of its events, and back.

`fold(unfold(answer)) == answer`: whatever can be answered in one body can be streamed, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from headrace.errors import BackendError
from headrace.wire.canonical.events import (
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
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
)
from headrace.wire.canonical.parts import Media, Opaque, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Turn
from headrace.wire.usage import Usage


class Choice(msgspec.Struct, frozen=True):
    """One of the answers to a request."""

    parts: tuple[Part, ...]
    finish: FinishReason
    stop_sequence: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def turn(self) -> Turn:
        """The answer as a turn of the conversation that goes on from it."""
        return Turn("assistant", self.parts)

    @property
    def text(self) -> str:
        """All text of the answer."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


class Answer(msgspec.Struct, frozen=True):
    """What a backend answered; `choices` in the order of their index."""

    id: str
    model: str
    created_s: int
    choices: tuple[Choice, ...]
    usage: Usage | None = None


class _ChoiceFold:
    """One choice, while its events come."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.logprobs: list[TokenLogprob] = []
        self.finished: Finished | None = None
        self._kind: type | None = None
        self._pieces: list[str] = []
        self._summary: dict[int, str] = {}
        self._call: ToolCallStarted | None = None

    def add(self, kind: type, text: str) -> None:
        """A piece of a part of this kind; another kind begins a new part."""
        if self._kind is not kind:
            self.close()
            self._kind = kind
        self._pieces.append(text)

    def summarise(self, index: int, text: str) -> None:
        self.add(Reasoning, "")
        self._summary[index] = self._summary.get(index, "") + text

    def call(self, started: ToolCallStarted) -> None:
        self.close()
        self._kind, self._call = ToolCall, started

    def close(self, sealed: ReasoningSealed | None = None) -> None:
        """End the part that is open."""
        text = "".join(self._pieces)
        if self._kind is Reasoning or sealed is not None:
            summary = tuple(self._summary[index] for index in sorted(self._summary))
            self.parts.append(Reasoning(text, summary, sealed.seal if sealed else None))
        elif self._kind is ToolCall and self._call is not None:
            call = self._call
            self.parts.append(ToolCall(call.call_id, call.name, text, call.custom, call.namespace))
        elif self._kind is not None:
            self.parts.append(Text(text) if self._kind is Text else Refusal(text))
        self._kind, self._call, self._pieces, self._summary = None, None, [], {}

    def choice(self) -> Choice:
        self.close()
        if self.finished is None:
            raise BackendError("the answer has no finish reason: it was cut off")
        return Choice(tuple(self.parts), self.finished.reason, self.finished.stop_sequence, tuple(self.logprobs))


def _text(fold: _ChoiceFold, event: TextDelta) -> None:
    fold.add(Text, event.text)
    fold.logprobs += event.logprobs


def _sealed(fold: _ChoiceFold, event: ReasoningSealed) -> None:
    fold.add(Reasoning, "")
    fold.close(event)


def _finished(fold: _ChoiceFold, event: Finished) -> None:
    fold.finished = event


def _opaque(fold: _ChoiceFold, event: Opaque) -> None:
    fold.close()
    fold.parts.append(event)


_FOLDS: dict[type, Callable[[_ChoiceFold, Any], None]] = {
    TextDelta: _text,
    ReasoningDelta: lambda fold, event: fold.add(Reasoning, event.text),
    SummaryDelta: lambda fold, event: fold.summarise(event.index, event.text),
    ReasoningSealed: _sealed,
    RefusalDelta: lambda fold, event: fold.add(Refusal, event.text),
    ToolCallStarted: lambda fold, event: fold.call(event),
    ToolCallDelta: lambda fold, event: fold.add(ToolCall, event.text),
    ToolCallDone: lambda fold, event: fold.close(),
    Opaque: _opaque,
    Finished: _finished,
}


def fold(events: Iterable[Event]) -> Answer:
    """The whole answer that a stream of events amounts to.

    Raises:
        BackendError: the stream failed, or was cut off.
    """
    started, usage, ended = Started(), None, False
    choices: dict[int, _ChoiceFold] = {}
    for event in events:
        if isinstance(event, Started):
            started = event
        elif isinstance(event, Usage):
            usage = event
        elif isinstance(event, Failed):
            raise BackendError(event.message)
        elif isinstance(event, Ended):
            ended = True
        else:
            index = getattr(event, "choice", 0)
            _FOLDS[type(event)](choices.setdefault(index, _ChoiceFold()), event)
    if not ended:
        raise BackendError("the stream stopped before its end: the answer was cut off")
    folded = tuple(choices[index].choice() for index in sorted(choices))
    return Answer(started.id, started.model, started.created_s, folded, usage)


def unfold(answer: Answer) -> list[Event]:
    """The answer as a stream of events, each part whole."""
    events: list[Event] = [Started(answer.id, answer.model, answer.created_s)]
    for index, choice in enumerate(answer.choices):
        logprobs = choice.logprobs
        for part in choice.parts:
            events += _part_events(part, index, logprobs)
            logprobs = () if isinstance(part, Text) else logprobs
        events.append(Finished(choice.finish, index, choice.stop_sequence))
    if answer.usage is not None:
        events.append(answer.usage)
    events.append(Ended())
    return events


def _part_events(part: Part, index: int, logprobs: tuple[TokenLogprob, ...]) -> list[Event]:
    match part:
        case Text(text):
            return [TextDelta(text, index, logprobs)]
        case Refusal(text):
            return [RefusalDelta(text, index)]
        case Reasoning():
            return _reasoning_events(part, index)
        case ToolCall(call_id, name, arguments, custom, namespace):
            started = ToolCallStarted(call_id, name, custom, namespace, index)
            return [started, ToolCallDelta(arguments, index), ToolCallDone(index)]
        case Opaque():
            return [part]
        case Media() | ToolResult():
            raise BackendError(f"an answer cannot hold a {type(part).__name__.lower()} part")


def _reasoning_events(part: Reasoning, index: int) -> list[Event]:
    events: list[Event] = [SummaryDelta(text, at, index) for at, text in enumerate(part.summary)]
    if part.text or not events:
        events.append(ReasoningDelta(part.text, index))
    if part.seal is not None:
        events.append(ReasoningSealed(part.seal, index))
    return events
