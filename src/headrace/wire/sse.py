"""The usage filter: a stream passes as it came, minus the one event that headrace itself asked for.

The extra usage chunk comes after the last piece of the answer, and that piece has a finish reason. So until a finish
reason passes by, bytes are handed on unseen, in whatever pieces they come; from then on the stream is taken event by
event: each whole event is handed on at once, except the usage event, which is withheld whole. A stream that never
finishes is not filtered, and need not be: it is broken, and its client is told so by other means.

Law 10: for every way to cut the stream into pieces, the bytes out are the bytes in minus exactly the usage event.
"""

from __future__ import annotations

import re

from headrace.wire.usage import event_data, is_usage_event

FINISH_MARKS = (b'"finish_reason":"', b'"finish_reason": "')
CARRY_BYTES = 24  # a mark, cut anywhere, and the longest blank line
MAX_EVENT_BYTES = 16 * 1024 * 1024
_EVENT_END = re.compile(rb"\r?\n\r?\n")


class UsageFilter:
    """Withholds the usage event of one stream.

    Attributes:
        watching_events: a finish reason has passed by, so events are looked at one by one.
        withheld: the usage event, once it has come.
    """

    __slots__ = ("_carry", "_held", "_inside_event", "watching_events", "withheld")

    def __init__(self, passed: bytes = b"") -> None:
        """Start in the middle of a stream whose last bytes so far were `passed`."""
        self._carry = passed[-CARRY_BYTES:]
        self._held = b""
        self._inside_event = False
        self.watching_events = False
        self.withheld = b""

    def feed(self, data: bytes) -> bytes:
        """What of the stream may be handed on now."""
        if self.watching_events:
            return self._feed_events(data)
        window = self._carry + data
        if FINISH_MARKS[0] in window or FINISH_MARKS[1] in window:
            self.watching_events = True
            self._inside_event = bool(self._carry) and not self._carry.endswith((b"\n\n", b"\n\r\n"))
            return self._feed_events(data)
        self._carry = window[-CARRY_BYTES:]
        return data

    def flush(self) -> bytes:
        """What is left when the stream has ended: an event that was not ended by a blank line."""
        rest, self._held = self._held, b""
        if rest and not self._inside_event and is_usage_event(rest):
            self.withheld = rest
            return b""
        return rest

    def _feed_events(self, data: bytes) -> bytes:
        out = []
        if self._inside_event:
            head, data = self._end_of_started_event(data)
            out.append(head)
        self._held += data
        at = 0
        for match in _EVENT_END.finditer(self._held):
            event = self._held[at : match.end()]
            at = match.end()
            if not self.withheld and is_usage_event(event):
                self.withheld = event
            else:
                out.append(event)
        self._held = self._held[at:]
        return out[0] if len(out) == 1 else b"".join(out)

    def _end_of_started_event(self, data: bytes) -> tuple[bytes, bytes]:
        """An event whose beginning was handed on before: hand on the rest of it as it comes."""
        before = self._carry[-3:]
        for match in _EVENT_END.finditer(before + data):
            end = match.end() - len(before)
            if end > 0:
                self._inside_event = False
                return data[:end], data[end:]
        self._carry = before + data
        return data, b""


class EventReader:
    """Takes a stream of server-sent events apart into the data of each; split anywhere, the same comes out.

    Source: WHATWG HTML, "Server-sent events", interpreting an event stream: lines end with LF, CRLF or CR, a blank line
    ends an event, its data lines are joined by LF, comments and other fields are skipped (the data of every API here
    says what it is).
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that are complete with these bytes.

        Raises:
            ValueError: an event is longer than `MAX_EVENT_BYTES`.
        """
        if self._held:
            data = self._held + data
        if data.find(b"\r") >= 0:
            data = _with_line_feeds(data)
        events = data.split(b"\n\n")
        self._held = events.pop()
        if len(self._held) > MAX_EVENT_BYTES:
            raise ValueError(f"an event of the stream is longer than {MAX_EVENT_BYTES} bytes")
        found = []
        for event in events:
            if event.startswith(b"data: ") and event.find(b"\n") < 0:
                found.append(event[6:])
            else:
                payload = event_data(event.removeprefix(b"\xef\xbb\xbf"))
                if payload:
                    found.append(payload)
        return found


def _with_line_feeds(data: bytes) -> bytes:
    """The bytes with every line end as LF; a CR at the very end waits, as an LF may follow."""
    last = b"\r" if data.endswith(b"\r") else b""
    return data[: len(data) - len(last)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + last
