"""The spliced answer of an attempt whose ceiling on output is lower than the client's.

It passes like any other (`spliced_answer`) up to the event with its finish reason. Where that says that the answer
ended by itself, it goes on passing. Where it says `length`, it is the ceiling that was reached: that event and all
after it are withheld, for the client's answer is not over. What text the event carries is said by whoever goes on, as
its first words; its usage is the attempt's own.

    text ... text | finish "stop", usage, [DONE]     -> passed
    text ... text | finish "length", usage, [DONE]   -> withheld; the answer is paused, and goes on as a rescue does

The rule that it protects: **the client hears of no ceiling but its own.** If nobody can go on after all, what was
withheld is handed on: an answer that its backend ended by its length, and says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headrace.gateway.spliced_answer import StreamAnswer
from headrace.http import unframe
from headrace.wire import FINISH_MARKS
from headrace.wire.apis import APIS, PLAIN

if TYPE_CHECKING:
    from headrace.gateway.attempt import Attempt

_MARK, _SPACED_MARK = FINISH_MARKS
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb'"finish_reason" ?: ?"length"')  # a key: inside a string its quotes would be escaped


class CappedAnswer(StreamAnswer):
    """A stream whose finish is looked at before it passes."""

    __slots__ = ("_ceiling", "_withheld")

    def __init__(self, attempt: Attempt, ceiling: int) -> None:
        """
        Args:
            ceiling: on the output tokens of this attempt.
        """
        super().__init__(attempt)
        self._ceiling = ceiling
        self._withheld: list[bytes] | None = None  # what came from the finish on

    def on_framed(self, block: bytes) -> None:
        """Hand whole chunks on as they are, up to the finish."""
        if self._withheld is None and block.find(_MARK) < 0 and block.find(_SPACED_MARK) < 0:
            super().on_framed(block)
        else:
            self.on_data(unframe(block))

    def on_data(self, data: bytes) -> None:
        """Payload, framed anew."""
        if self._withheld is not None:
            self._withheld.append(data)
        else:
            super().on_data(data)

    def on_end(self, explicit: bool) -> None:
        """The body is complete: the answer, or a part of it as long as the ceiling."""
        if self._withheld is None or self._attempt.ended:
            super().on_end(explicit)
            return
        withheld, self._withheld = b"".join(self._withheld), None
        end = self._splice.end(b"", withheld, False)
        if not end.failed and (end.usage is None or end.usage.output_tokens >= self._ceiling):
            rescue = self.broken()
            reader = APIS[self._attempt.request.api].stream_reader(PLAIN)
            rescue.pause(reader.feed(withheld), self._ceiling)
            if self._attempt.capped(rescue, end.usage):
                return
        super().on_data(withheld)
        super().on_end(explicit)

    def _pass_on(self, events: bytes) -> None:
        start = 0
        for match in _BLANK_LINE.finditer(events):
            if _LENGTH.search(events, start, match.end()) is not None:
                before, held = events[:start], b"".join(self._held)
                self._held.clear()
                self._splicing = False
                if before:
                    super()._pass_on(before)
                self._withheld = [events[start:] + held]
                return
            start = match.end()
        super()._pass_on(events)
