"""A client that believes nothing: it reads what came as a strict one does, and says what it is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from headrace.http import ClientExchange, ConnectionPool, FailedKind, header_lines
from headrace.wire import ApiName
from headrace.wire.apis import APIS, PLAIN, StreamReader
from headrace.wire.canonical import Ended, Event, Failed, Finished, Started, TextDelta, ToolCallDelta, unfold

MODEL_SAYS_MAX_TOKENS = 4000


@dataclass(slots=True)
class Reply:
    """What came of one request.

    Attributes:
        status: of the HTTP answer; None: there was none.
        events: of the answer, in neutral form.
        proper: its body came to an end, and not only its connection.
        body: of an error.
        ttft_s: from the request to the first of the answer's body; None: there was none.
    """

    status: int | None = None
    headers: dict[bytes, bytes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    proper: bool = False
    body: bytes = b""
    ttft_s: float | None = None

    @property
    def text(self) -> str:
        """The text of the answer, and the arguments of its calls."""
        return "".join(each.text for each in self.events if isinstance(each, TextDelta | ToolCallDelta))

    @property
    def backend(self) -> str:
        """Who answered first, by the gateway's word."""
        return self.headers.get(b"x-headrace-backend", b"").decode()

    @property
    def whole(self) -> bool:
        """Whether a client may take it for a complete answer."""
        return self.status == 200 and any(isinstance(each, Ended) for each in self.events)

    def faults(self) -> list[str]:
        """What no correct stream has: two beginnings, two ends, or something after the end."""
        found = []
        if sum(isinstance(each, Started) for each in self.events) > 1:
            found.append("the answer begins twice")
        if sum(isinstance(each, Finished) for each in self.events) > 1:
            found.append("the answer has two finish reasons")
        ends = [k for k, each in enumerate(self.events) if isinstance(each, Ended | Failed)]
        if ends and ends[0] != len(self.events) - 1:
            found.append("something comes after the end")
        return found


class Reading:
    """The sink of one response."""

    wants_framed = False

    def __init__(self, api: ApiName, streamed: bool, leaves_after: int | None) -> None:
        self.reply = Reply()
        self.done = asyncio.Event()
        self.exchange: ClientExchange | None = None
        self._api = APIS[api]
        self._leaves_after = leaves_after
        self._reader: StreamReader | None = self._api.stream_reader(PLAIN) if streamed else None
        self._pieces: list[bytes] = []
        self._sent_s = time.monotonic()

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head came."""
        self.reply.status, self.reply.headers = status, headers

    def on_framed(self, block: bytes) -> None:
        """Never called: `wants_framed` is False."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body."""
        reply = self.reply
        if reply.ttft_s is None:
            reply.ttft_s = time.monotonic() - self._sent_s
        if self._reader is None or reply.status != 200:
            self._pieces.append(data)
            return
        reply.events += self._reader.feed(data)
        if self._leaves_after is not None and len(reply.events) >= self._leaves_after and self.exchange is not None:
            self.exchange.cancel()
            self.done.set()

    def on_end(self, explicit: bool) -> None:
        """The body has ended."""
        reply = self.reply
        reply.proper = explicit
        reply.body = b"".join(self._pieces)
        if reply.status == 200 and self._reader is not None:
            reply.events += self._reader.close(explicit)
        elif reply.status == 200:
            reply.events += unfold(self._api.read_answer(reply.body, PLAIN))
        self.done.set()

    def on_failed(self, kind: FailedKind, message: str) -> None:
        """The connection broke."""
        if self.reply.status == 200 and self._reader is not None:
            self.reply.events += self._reader.close(False)
        self.done.set()


async def ask(
    pool: ConnectionPool, api: ApiName, body: bytes, *, streamed: bool, leaves_after: int | None, timeout_s: float
) -> Reply:
    """Ask, and read what comes; after `timeout_s` what has come is all there is."""
    reading = Reading(api, streamed, leaves_after)
    lines = header_lines((b"host", pool.host_header), (b"content-type", b"application/json"))
    head = b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n" % (APIS[api].path.encode(), lines, len(body))
    reading.exchange = pool.send(head, body, reading)
    try:
        await asyncio.wait_for(reading.done.wait(), timeout_s)
    except TimeoutError:
        reading.exchange.cancel()
    return reading.reply
