"""The seam: the events of a backend that goes on, such that they follow what the client has.

Its first event, which names an answer that the client has the name of, is swallowed. A server may say the text again
that it was given to go on from; exactly that text is cut. And what an answer cost is one sum, whoever made which part.

**What is taken for a repetition.** Models do repeat themselves, so a backend whose dialect says that it goes on without
repeating is trusted. Of the others, let P be the text so far. One that begins by saying all of P says it again, unless
P repeats itself already: then going on may well begin with P (in `tok tok tok ` it does). So P counts as said again
where its smallest period is longer than half of it, and it is long, or came whole in the first piece while the first
backend needed several for it. In all other cases the backend is trusted.
"""

from __future__ import annotations

from headrace.wire.canonical import (
    Event,
    Finished,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    SummaryDelta,
    TextDelta,
    Usage,
)
from headrace.wire.resume.progress import Progress

SURE_CHARACTERS = 16
_CANDIDATES = 64
_THOUGHTS = (ReasoningDelta, SummaryDelta, ReasoningSealed)


class Seam:
    """Fits the events of one backend to what the client has.

    Attributes:
        usage: what it says of its own cost.
    """

    __slots__ = ("_before", "_repeated", "_restarts", "_said_again", "_used", "usage")

    def __init__(self, progress: Progress, trimmed: str = "", may_repeat: bool = True) -> None:
        """
        Args:
            progress: what the client has.
            trimmed: white space at the end of the text that the backend was not given; it may say it, or not.
            may_repeat: the backend may begin with the text that it was given.
        """
        self._restarts = not progress.text
        self.usage: Usage | None = None
        self._before = progress.usage if progress.usage is not None and progress.usage.input_tokens else None
        self._used = (progress.tokens, progress.text_tokens)
        text = progress.text
        self._repeated: _Repeated | None = None
        if may_repeat and text and not _periodic(text):
            self._repeated = _Repeated(text, progress.text_tokens)
        self._said_again = trimmed

    def pass_on(self, events: list[Event]) -> list[Event]:
        """What of these events the client is to have."""
        passed: list[Event] = []
        for event in events:
            self._pass(event, passed)
        return passed

    def _pass(self, event: Event, passed: list[Event]) -> None:
        if isinstance(event, Started):
            return
        if isinstance(event, TextDelta):
            self._text(event, passed)
            return
        if isinstance(event, Usage):
            self.usage = event
            event = self._sum(event)
        elif isinstance(event, _THOUGHTS) and not self._restarts:
            return  # it thinks again about what has been said: the answer's reasoning is over
        elif self._repeated is not None and isinstance(event, Finished):
            passed += self._repeated.rest()
            self._repeated = None
        passed.append(event)

    def _text(self, event: TextDelta, passed: list[Event]) -> None:
        if self._repeated is not None:
            text = self._repeated.without(event.text)
            if text is None:
                return
            self._repeated = None
            event = TextDelta(text, event.choice, event.logprobs)
        if self._said_again:
            event = TextDelta(self._untrimmed(event.text), event.choice, event.logprobs)
        if event.text:
            passed.append(event)

    def _untrimmed(self, text: str) -> str:
        """The text without the white space that the client has already."""
        same = 0
        while same < min(len(text), len(self._said_again)) and text[same] == self._said_again[same]:
            same += 1
        self._said_again = self._said_again[same:] if same == len(text) else ""
        return text[same:]

    def _sum(self, usage: Usage) -> Usage:
        """What the answer cost as one: the first backend's input, and the output of all."""
        tokens, text_tokens = self._used
        before = self._before
        given = usage.input_tokens - text_tokens if before is None else before.input_tokens
        cached = min(usage.cached_input_tokens, max(given, 0)) if before is None else before.cached_input_tokens
        return usage._replace(
            input_tokens=max(given, 0), output_tokens=tokens + usage.output_tokens, cached_input_tokens=cached
        )


class _Repeated:
    """Holds text back for as long as it may be what was said before."""

    def __init__(self, said: str, pieces: int) -> None:
        self._said = said
        self._pieces = pieces
        self._held = ""

    def without(self, text: str) -> str | None:
        """What there is to say, once that is clear; None before."""
        first = not self._held
        self._held += text
        held, said = self._held, self._said
        if held.startswith(said):
            sure = len(said) >= SURE_CHARACTERS or (first and self._pieces > 1)
            return held[len(said) :] if sure else held
        return None if said.startswith(held) and len(said) >= SURE_CHARACTERS else held

    def rest(self) -> list[Event]:
        """What was held back until the end."""
        return [TextDelta(self._held)] if self._held else []


def _periodic(text: str) -> bool:
    """Whether the text is a repetition of its first half, or of less.

    A period p is no longer than half of it where the text from p on is its beginning again; then the first half of it
    is found at p. A text in which that half is found very often repeats itself, too.
    """
    half = len(text) // 2
    beginning = text[: len(text) - half]
    at = 0
    for _ in range(_CANDIDATES):
        at = text.find(beginning, at + 1)
        if at < 0:
            return False
        if text.startswith(text[at:]):
            return True
    return True
