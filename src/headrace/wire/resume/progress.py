"""How far an answer is: what a client has of it, in neutral form, and whether another backend can go on from there.

The rule it protects: **what is gone on with is text that stands as it is.** A model that reads its own text as the
beginning of its answer goes on from it as if it had never stopped. Half a tool call, half a document that must follow a
schema or half a thought have no such reading: whoever starts them again says them twice. So only plain text is gone on
with, after reasoning that had ended if there was any; and an answer of which nothing was said is begun anew.

Source: how the only server that moves streams between its own workers decides it (NVIDIA Dynamo, migration of requests:
not for guided decoding, nor for several choices), and the prefill rules of the providers (`Continuation`).
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.wire.canonical import (
    Ended,
    Event,
    Failed,
    Finished,
    Opaque,
    ReasoningDelta,
    ReasoningSealed,
    RefusalDelta,
    Started,
    SummaryDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)

_MERGED_PIECES = 1024
_ENDS = (Started, Finished, Ended)


class Progress:
    """An answer so far.

    Attributes:
        tokens: pieces that came, a lower bound of its tokens; `text_tokens`: of these, those of its text.
        finished: the finish reason has come. `ended`: all of it has.
        failed: the error that it carries itself.
        usage: what the backend has said of its cost by now.
        restarts: reasoning without text is no obstacle: it is said again, from its beginning.
    """

    __slots__ = (
        *("_bar", "_max_bytes", "_pieces", "_reasoning", "_text_bytes", "ended", "failed", "finished"),
        *("restarts", "text_tokens", "tokens", "usage"),
    )

    def __init__(self, max_text_bytes: int) -> None:
        """
        Args:
            max_text_bytes: text that is kept at most; a longer answer is not gone on with.
        """
        self.tokens = 0
        self.text_tokens = 0
        self.finished: Finished | None = None
        self.failed: Failed | None = None
        self.ended = False
        self.restarts = False
        self.usage: Usage | None = None
        self._max_bytes = max_text_bytes
        self._pieces: list[str] = []
        self._text_bytes = 0
        self._reasoning: list[str] = []
        self._bar = ""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    @property
    def reasoning(self) -> str:
        """The reasoning before it."""
        return "".join(self._reasoning)

    def obstacle(self) -> str:
        """Why nobody can go on from here; empty: somebody can."""
        if self._bar:
            return self._bar
        if self.failed is not None:
            return "the client has been told that it failed"
        if self.finished is not None:
            return "it failed after its finish reason"
        if self._reasoning and not self._pieces and not self.restarts:
            return "it broke off inside its reasoning"
        return ""

    @property
    def thinks(self) -> bool:
        """Whether it has reasoned and said nothing yet."""
        return bool(self._reasoning) and not self._pieces

    def paused(self, events: Iterable[Event], tokens: int) -> None:
        """It has come to a ceiling of so many tokens, at the end of these events, and is to go on."""
        self.add(event for event in events if not isinstance(event, _ENDS))
        self._count(tokens)
        self.restarts = True

    def add(self, events: Iterable[Event]) -> None:
        """So much more has come."""
        for event in events:
            kind = type(event)
            if kind is TextDelta:
                self._add_text(event)  # type: ignore[arg-type]  # just looked at
            else:
                self._add_rest(event)

    def _add_text(self, event: TextDelta) -> None:
        self.tokens += 1
        self.text_tokens += 1
        self._text_bytes += len(event.text)
        if event.choice:
            self._stop("it has several choices")
        elif self._text_bytes > self._max_bytes:
            self._stop("it is longer than rescue_max_bytes")
        if not self._bar:
            self._pieces.append(event.text)
            if len(self._pieces) > _MERGED_PIECES:
                self._pieces = ["".join(self._pieces)]

    def _add_rest(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text) | SummaryDelta(text):
                self._reason(text)
            case ReasoningSealed():
                self._reason("")
            case ToolCallStarted() | ToolCallDelta():
                self.tokens += isinstance(event, ToolCallDelta)
                self._stop("it has begun a tool call")
            case RefusalDelta():
                self.tokens += 1
                self._stop("it refuses")
            case Opaque():
                self._stop("it holds what only its provider understands")
            case Usage():
                self._used(event)
            case Finished():
                self.finished = event
            case Failed():
                self.failed = event
            case Ended():
                self.ended = True
            case _:
                pass  # its name is the writer's affair

    def _reason(self, text: str) -> None:
        self.tokens += bool(text)
        if self._pieces:
            self._stop("it went back to reasoning")
        elif sum(map(len, self._reasoning[:1])) <= self._max_bytes:
            self._reasoning.append(text)
            if len(self._reasoning) > _MERGED_PIECES:
                self._reasoning = ["".join(self._reasoning)]

    def _used(self, usage: Usage) -> None:
        """Some backends count along: theirs is the better count."""
        self.usage = usage
        self._count(usage.output_tokens)

    def _count(self, tokens: int) -> None:
        if tokens > self.tokens:
            self.text_tokens += tokens - self.tokens
            self.tokens = tokens

    def _stop(self, why: str) -> None:
        self._bar = self._bar or why
        self._pieces = []
