"""A streamed answer in neutral form: the events that every API's stream comes down to.

    Started  ( Text | Reasoning | Summary | Refusal | ToolCallStarted Delta* Done | ReasoningSealed | Opaque )*
             Finished (one per choice)  Usage?  Ended           or, at any point,  Failed

Rules that readers keep and writers rely on:

- within one choice, parts follow one another: a part ends where another begins, at `ToolCallDone`, `ReasoningSealed` or
  `Finished`. Only choices are interleaved.
- `Ended` comes once, last, and only if every choice has finished. A stream that just stops ends with `Failed`: a
  truncated answer never looks complete.

`Usage` and `Opaque` are events as they are. Events are made once per token, so they are small structs without a cycle
collector's header.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.wire.canonical.parts import Opaque, Seal
from headrace.wire.error_kind import ErrorKind
from headrace.wire.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class TopLogprob(msgspec.Struct, frozen=True, gc=False):
    """A token that might have come instead."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


class TokenLogprob(msgspec.Struct, frozen=True, gc=False):
    """The log probability of one token, and of the likeliest others."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple[TopLogprob, ...] = ()


class Started(msgspec.Struct, frozen=True, gc=False):
    """The answer has an id, a model and a time (Unix seconds); empty and 0 where the backend gave none."""

    id: str = ""
    model: str = ""
    created_s: int = 0


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer's text."""

    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the reasoning itself."""

    text: str
    choice: int = 0


class SummaryDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the `index`-th summary of the reasoning."""

    text: str
    index: int = 0
    choice: int = 0


class ReasoningSealed(msgspec.Struct, frozen=True, gc=False):
    """The reasoning so far is one item, sealed by its provider."""

    seal: Seal
    choice: int = 0


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a refusal."""

    text: str
    choice: int = 0


class ToolCallStarted(msgspec.Struct, frozen=True, gc=False):
    """The model asks for a tool; its arguments follow."""

    call_id: str
    name: str
    custom: bool = False
    namespace: str | None = None
    choice: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the arguments of the call that is open."""

    text: str
    choice: int = 0


class ToolCallDone(msgspec.Struct, frozen=True, gc=False):
    """The call that is open has all its arguments."""

    choice: int = 0


class Finished(msgspec.Struct, frozen=True, gc=False):
    """A choice is complete. `stop_sequence` is the one that ended it, where the backend says so."""

    reason: FinishReason
    choice: int = 0
    stop_sequence: str | None = None


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The answer broke, or the backend refused.

    Attributes:
        status: HTTP status that stands for it.
        kind: `error.type` in OpenAI's words, as the backend or the table of `wire.errors` gave it.
        reason: what is to be done about it.
    """

    status: int
    message: str
    kind: str = "server_error"
    code: str | None = None
    param: str | None = None
    reason: ErrorKind = ErrorKind.SERVER_ERROR


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The stream is complete."""


Event = (
    Started
    | TextDelta
    | ReasoningDelta
    | SummaryDelta
    | ReasoningSealed
    | RefusalDelta
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallDone
    | Opaque
    | Finished
    | Usage
    | Failed
    | Ended
)
_TOKENS = frozenset(
    (TextDelta, ReasoningDelta, SummaryDelta, RefusalDelta, ToolCallStarted, ToolCallDelta, ReasoningSealed, Finished)
)


def is_token_event(event: Event) -> bool:
    """Whether an answer has begun with this event: it carries a piece of it, or says that there is none."""
    return type(event) in _TOKENS
