"""What was delivered of a stream that passed as it came, read back from its bytes when it has broken off.

A spliced stream is not looked at while it goes well. When it breaks, its bytes are read twice over: into events, for
what the answer says (`Progress`), and by `places`, for where in its API's form it stopped, so that a writer can go on
there: with the answer's own id, the number of the next event, the block that is open.

Only whole lines reach a client, so an event is cut between its lines at most. If it has its data, an empty line ends
it, and the client has it whole. If it has its name alone, it must get data: by the standard an event without any is
none, but the SDKs of OpenAI and Anthropic read its data all the same. So it becomes an empty piece of text.
"""

from __future__ import annotations

import re

from headrace.wire.api import ApiName
from headrace.wire.apis import APIS, PLAIN, StreamWriter
from headrace.wire.canonical import Request
from headrace.wire.resume.places import PLACES
from headrace.wire.resume.progress import Progress
from headrace.wire.sse import EventReader

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class Delivered:
    """Reads what a client of one API was given."""

    __slots__ = ("_cut", "_events", "_last", "_place", "_reader", "progress")

    def __init__(self, api: ApiName, max_text_bytes: int) -> None:
        self.progress = Progress(max_text_bytes)
        self._place = PLACES[api]()
        self._reader = APIS[api].stream_reader(PLAIN)
        self._events = EventReader()
        self._last = b""  # the lines of an event whose end was not delivered
        self._cut = False

    def feed(self, payload: bytes) -> None:
        """So much more was delivered."""
        self.progress.add(self._reader.feed(payload))
        for data in self._events.feed(payload):
            self._place.see(data)
        self._last = _BLANK_LINE.split(self._last + payload)[-1]

    def close(self) -> bytes:
        """All that was delivered has been read; the bytes that have to be sent before another event can be."""
        lines = self._last.split(b"\n")
        name = next((line[6:].strip() for line in lines if line.startswith(b"event:")), None)
        if not any(lines):
            return b""
        if name is None or any(line.startswith(b"data:") for line in lines):
            self.feed(b"\n\n")
            return b"\n"
        data = self._place.complete(name.decode())
        self._cut = not data
        return b"data: %b\n\n" % data if data else b"\n"

    def writer(self, request: Request, answer_id: str, created_s: int) -> tuple[StreamWriter, bytes]:
        """What writes the rest of the stream, and what it has to say first."""
        return self._place.writer(request, answer_id, created_s)

    @property
    def closing(self) -> bytes:
        """What is missing of a stream whose finish reason has passed."""
        return self._place.closing

    def obstacle(self) -> str:
        """Why nobody can go on from here; empty: somebody can."""
        if self._cut:
            return "it broke off inside an event"
        return self._place.obstacle or self.progress.obstacle()
