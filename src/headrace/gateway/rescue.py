"""A rescue: the client has a part of an answer, its stream has broken off, and another backend is to go on with it.

    delivered --(finish reason has passed, or the ceiling is reached)--> what is missing is closing words: said here
        |
        +--(an obstacle: see `wire.resume`)----------------------------> the client is told, and its connection cut
        |
        +--> the engine picks a backend that can go on --> its stream is written where the first one stopped
                 ^            |                                 |
                 +-- fails ---+--------------- breaks off, too -+

A truncated answer never looks complete: without a rescue the last thing that the client hears is an error in its API,
and no end follows. A client that reads comments is told of the seam by one: `: headrace-rescued BACKEND`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from headrace.errors import RequestError
from headrace.http import Exchange
from headrace.wire import ApiName
from headrace.wire.apis import APIS, PLAIN, StreamWriter, ToolNames
from headrace.wire.apis.errors import BROKEN, failure
from headrace.wire.canonical import Ended, Event, Failed, Finished, Request, Usage, is_token_event
from headrace.wire.resume import Delivered, Progress, obstacle

if TYPE_CHECKING:
    from headrace.gateway.request import GatewayRequest

COMMENT = b": headrace-rescued %b\n\n"


class Continuing(NamedTuple):
    """A request that goes on, as it goes to the backends of one dialect.

    Attributes:
        trimmed: white space at the end of the client's text that these backends are not given.
    """

    api: ApiName
    body: bytes
    tools: ToolNames = PLAIN
    trimmed: str = ""


class Rescue:
    """What a client has of one answer, and how it is gone on with.

    Attributes:
        obstacle: why nobody can go on; empty: somebody may.
        bodies: what is asked of which backends, by their `fit_key`.
        writer: writes the rest of the client's stream.
        seam: bytes that have to be sent before anything else; `first`: and after these, if the answer goes on. Both are
            empty once they are sent.
        several: the client asked for several choices.
        fault: the error that the backend broke off with, if it said one: then it is no end, whatever was before.
        usage: what the backend that broke off has said of its cost.
        paused: nothing broke: the answer reached a lowered ceiling.
    """

    __slots__ = (
        *("_closing", "bodies", "fault", "first", "obstacle", "paused", "progress", "seam", "several", "usage"),
        "writer",
    )

    def __init__(self, progress: Progress, writer: StreamWriter, closing: bytes | None = None) -> None:
        """
        Args:
            closing: what is missing of the stream once its finish reason has passed; None: the writer knows.
        """
        self.progress = progress
        self.writer = writer
        self.seam = self.first = b""
        self.obstacle = progress.obstacle()
        self.bodies: dict[str, Continuing] = {}
        self.several = False
        self.paused = False
        self.fault: Failed | None = None
        self.usage: Usage | None = None
        self._closing = closing

    def closing_words(self, ceiling: int | None, input_tokens: int) -> bytes | None:
        """What completes the answer without another backend; None: more is missing than words.

        Args:
            ceiling: the client's, of output tokens.
            input_tokens: of the request, estimated: said where the backend has not come to say what it counted.
        """
        progress = self.progress
        if progress.failed is not None or self.fault is not None:
            return None
        if progress.ended:
            return self.seam
        if self.several:
            return None
        used = progress.usage or Usage(input_tokens, progress.tokens)
        if progress.finished is not None:
            return self.seam + (self.writer.write_all([used, Ended()]) if self._closing is None else self._closing)
        if self.obstacle or ceiling is None or progress.tokens < ceiling:
            return None
        return self.seam + self.first + self.writer.write_all([Finished("length"), used, Ended()])

    def pause(self, withheld: list[Event], tokens: int) -> None:
        """The answer has reached a lowered ceiling, with these events, of which the client has none yet."""
        self.paused = True
        self.obstacle = "" if self.progress.thinks else self.obstacle  # thoughts alone are begun anew
        self.progress.paused(withheld, tokens)
        self.obstacle = self.obstacle or self.progress.obstacle()
        self.first += self.writer.write_all(
            [event for event in withheld if is_token_event(event) and not isinstance(event, Finished)]
        )

    def broke_again(self, usage: Usage | None) -> None:
        """A backend that went on has broken off, too; `usage`: what it has said of its cost."""
        self.usage = usage
        self.paused = False
        self.obstacle = self.progress.obstacle()
        self._closing = None

    def opening_words(self, backend: str) -> bytes:
        """What is sent before the first words of the backend that goes on."""
        words = self.seam + (b"" if self.paused else COMMENT % backend.encode()) + self.first
        self.seam = self.first = b""
        return words

    def say_broken(self, exchange: Exchange) -> None:
        """Tell the client, in its API, that there will be no more."""
        if self.progress.failed is None:
            exchange.write(self.seam + self.writer.write(self.fault or failure(BROKEN)))


def rescue_of_stream(request: GatewayRequest, delivered: Delivered, answer_id: str) -> Rescue:
    """The rescue of a stream that passed as it came."""
    seam = delivered.close()
    neutral = _neutral(request)
    writer, first = delivered.writer(neutral, answer_id, int(time.time()))
    rescue = Rescue(delivered.progress, writer, delivered.closing)
    rescue.seam, rescue.first = seam, first
    rescue.obstacle = obstacle(request.body) or delivered.obstacle()
    rescue.several = request.head.choices > 1
    return rescue


def rescue_of_translation(request: GatewayRequest, progress: Progress, writer: StreamWriter) -> Rescue:
    """The rescue of a stream that headrace wrote itself."""
    rescue = Rescue(progress, writer)
    rescue.obstacle = obstacle(request.body) or progress.obstacle()
    rescue.several = request.head.choices > 1
    return rescue


def _neutral(request: GatewayRequest) -> Request:
    """The request in neutral form, as far as the rest of its answer needs it."""
    try:
        read = request.read or APIS[request.api].read_request(request.body)
    except RequestError:
        read = Request(api=request.api, model=request.model, stream=True)
    return msgspec.structs.replace(read, include_usage=request.head.include_usage)
