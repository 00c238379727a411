"""What was delivered of a stream that passed as it came, read back from its bytes when it has broken off.

A spliced stream is not looked at while it goes well. When it breaks, its bytes are read twice over: into events, for
what the answer says (`Progress`), and by `places`, for where in its API's form it stopped, so that a writer can go on
there: with the answer's own id, the number of the next event, the block that is open.

Only whole lines reach a client, so an event is cut between its lines at most. An empty line ends it: what then stands
in the client is either an event that it has whole, or one that has no data yet and is none.
"""

from __future__ import annotations

from headrace.wire.api import ApiName
from headrace.wire.apis import APIS, PLAIN, StreamWriter
from headrace.wire.canonical import Request
from headrace.wire.resume.places import PLACES
from headrace.wire.resume.progress import Progress
from headrace.wire.sse import EventReader

_BLANK_LINES = (b"\n\n", b"\n\r\n", b"\r\r")


class Delivered:
    """Reads what a client of one API was given."""

    __slots__ = ("_end", "_events", "_place", "_reader", "progress")

    def __init__(self, api: ApiName, max_text_bytes: int) -> None:
        self.progress = Progress(max_text_bytes)
        self._place = PLACES[api]()
        self._reader = APIS[api].stream_reader(PLAIN)
        self._events = EventReader()
        self._end = b""

    def feed(self, payload: bytes) -> None:
        """So much more was delivered."""
        self.progress.add(self._reader.feed(payload))
        for data in self._events.feed(payload):
            self._place.see(data)
        self._end = (self._end + payload)[-4:]

    def close(self) -> bytes:
        """All that was delivered has been read; the bytes that have to be sent before another event can be."""
        if not self._end or self._end.endswith(_BLANK_LINES):
            return b""
        self.feed(b"\n\n")
        return b"\n"

    def writer(self, request: Request, answer_id: str, created_s: int) -> tuple[StreamWriter, bytes]:
        """What writes the rest of the stream, and what it has to say first."""
        return self._place.writer(request, answer_id, created_s)

    @property
    def closing(self) -> bytes:
        """What is missing of a stream whose finish reason has passed."""
        return self._place.closing

    def obstacle(self) -> str:
        """Why nobody can go on from here; empty: somebody can."""
        return self._place.obstacle or self.progress.obstacle()
