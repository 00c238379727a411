"""One answer on its way: what it says, token by token, in the API and dialect that were asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.emulate.chat_stream import Times
from headrace.emulate.fault import Fault
from headrace.http import Exchange
from headrace.wire.apis import Api
from headrace.wire.canonical import (
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
    Request,
    Started,
    TextDelta,
    ToolCallStarted,
    fold,
)
from headrace.wire.dialects import ErrorRow
from headrace.wire.usage import Usage

TOKEN = "tok "  # four bytes: one token by the emulated tokenizer


class AnswerWriter(Protocol):
    """Writes one answer."""

    def write(self, event: Event) -> bytes:
        """The bytes that come with this event."""

    def end(self, reason: FinishReason, usage: Usage, times: Times) -> bytes:
        """The last bytes of a stream."""

    def whole(self, events: list[Event], reason: FinishReason, usage: Usage, times: Times) -> bytes:
        """The answer as one body."""

    def error(self, row: ErrorRow) -> bytes:
        """The error with which a stream ends."""


class ApiAnswer:
    """An answer in any API, by the writers of `wire.apis`."""

    def __init__(self, api: Api, request: Request, answer_id: str) -> None:
        self._api = api
        self._request = request
        self._id = answer_id
        self._started = Started(answer_id, request.model, 0)
        self._begun = False
        self._writer = api.stream_writer(request, answer_id, 0)

    def write(self, event: Event) -> bytes:
        """The bytes that come with this event."""
        if self._begun:
            return self._writer.write(event)
        self._begun = True
        return self._writer.write_all([self._started, event])

    def end(self, reason: FinishReason, usage: Usage, times: Times) -> bytes:
        """The last bytes of a stream."""
        return self._writer.write_all([Finished(reason), usage, Ended()])

    def whole(self, events: list[Event], reason: FinishReason, usage: Usage, times: Times) -> bytes:
        """The answer as one body."""
        answer = fold([self._started, *events, Finished(reason), usage, Ended()])
        return self._api.write_answer(answer, self._request, self._id)

    def error(self, row: ErrorRow) -> bytes:
        """The error with which a stream ends."""
        return self._writer.write(Failed(row.status, row.message, row.type or "server_error", _text(row.code)))


def _text(code: str | int | None) -> str | None:
    return None if code is None else str(code)


class Said:
    """What an answer says: the same plain token again and again, or the tokens of a script."""

    def __init__(self, writer: AnswerWriter, tokens: Sequence[tuple[Event, ...]] | None, count: int) -> None:
        """
        Args:
            tokens: the events of each token; None: plain tokens, `count` of them.
        """
        self.writer = writer
        self._tokens = None if tokens is None else tokens[:count]
        self._count = count
        self._plain = b""

    def piece(self, start: int, stop: int) -> bytes:
        """The bytes of the tokens from `start` on, up to `stop`."""
        if self._tokens is not None:
            return b"".join(self.writer.write(event) for token in self._tokens[start:stop] for event in token)
        first = b""
        if start == 0:
            first = self.writer.write(TextDelta(TOKEN))
            self._plain = self.writer.write(TextDelta(TOKEN)) if self._count > 1 else b""
            start = 1
        return first + self._plain * (stop - start) if stop > start or first else b""

    def whole(self, reason: FinishReason, usage: Usage, times: Times) -> bytes:
        """The answer as one body."""
        if self._tokens is None:
            return self.writer.whole([TextDelta(TOKEN * self._count)], reason, usage, times)
        return self.writer.whole([event for token in self._tokens for event in token], reason, usage, times)

    @property
    def calls(self) -> bool:
        """Whether it asks for a tool."""
        return self._tokens is not None and any(isinstance(e, ToolCallStarted) for token in self._tokens for e in token)


class Answer:
    """One live answer.

    Attributes:
        cut: the client's ceiling ends it.
        sent: tokens sent so far.
    """

    __slots__ = (
        *("cached_tokens", "cut", "exchange", "fault", "first_s", "input_tokens", "output_tokens", "said", "sent"),
        *("stream", "submitted_s"),
    )

    def __init__(
        self, exchange: Exchange, said: Said, *, stream: bool, input_tokens: int, output_tokens: int, cut: bool
    ) -> None:
        self.exchange = exchange
        self.said = said
        self.stream = stream
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.cut = cut
        self.fault: Fault | None = None
        self.sent = 0
        self.cached_tokens = 0
        self.submitted_s = 0.0
        self.first_s: float | None = None

    @property
    def finish_reason(self) -> FinishReason:
        """Why it ends."""
        if self.cut:
            return "length"
        return "tool_calls" if self.said.calls else "stop"

    @property
    def usage(self) -> Usage:
        """What it cost."""
        return Usage(self.input_tokens, self.output_tokens, self.cached_tokens)

    def times(self, now_s: float) -> Times:
        """What a provider says of its times."""
        first_s = now_s if self.first_s is None else self.first_s
        total_s = now_s - self.submitted_s
        return Times(0.0, first_s - self.submitted_s, now_s - first_s, total_s)
