"""An answer that passes as it came is looked at in few places: before its first token, at its end, where it broke.

Everything between is nobody's business. `Splice` says how each of these looks is done in one API; the rules are those
of the data plane: an answer begins with its first token, and is complete only if its last events say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from headrace.wire.backend_error import event_error
from headrace.wire.usage import BROKEN_OFF, DONE_DATA, StreamEnd, Usage, event_data, stream_end

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_PIECE = re.compile(
    rb'"(?:content|reasoning|reasoning_content|refusal|arguments|text|thinking|partial_json|delta)" ?: ?'
    rb'"((?:[^"\\]|\\.)+)"'
)
BYTES_PER_TOKEN = 4


class Splice(msgspec.Struct, frozen=True, kw_only=True):
    """How to look at the passing answers of one API.

    Attributes:
        begun: whether these whole events hold the first token; a finish counts as one.
        end: what the beginning of a stream (empty without `keeps_preamble`) and its last bytes say of its end, and
            whether `finished` has matched in what is not kept of it.
        whole_usage: usage of a whole JSON answer, and whether the framing has shown that all of it is there. Raises
            ValueError: the body is not a JSON object.
        content: matches in each event that carries a piece of the answer.
        keeps_preamble: what came up to the first token is needed at the end.
        preamble_bytes: an answer that has not begun by then is handed on all the same.
        end_bytes: how much of its last bytes tells the end of a stream.
        finished: matches in the event that ends an answer, where that event may be longer than what is kept of a
            stream; None: it is not.
    """

    begun: Callable[[bytes], bool]
    end: Callable[[bytes, bytes, bool], StreamEnd]
    whole_usage: Callable[[bytes, bool], Usage | None]
    content: re.Pattern[bytes]
    keeps_preamble: bool = False
    preamble_bytes: int = 16 * 1024
    end_bytes: int = 16 * 1024
    finished: re.Pattern[bytes] | None = None

    def count(self, payload: bytes) -> int:
        """How many whole events carry a piece of the answer: a lower bound of its tokens."""
        search = self.content.search
        events = payload.replace(b"\r\n", b"\n").split(b"\n\n")
        events.pop()  # what follows the last blank line is not a whole event
        return sum(1 for event in events if search(event) is not None)


def token_estimate(payload: bytes) -> int:
    """Tokens in these events of any API, estimated: at least one an event, and one for every four bytes of its text."""
    return sum(max(1, len(piece) // BYTES_PER_TOKEN) for piece in _PIECE.findall(payload))


def errors_apart(payload: bytes) -> tuple[bytes, bytes]:
    """The lines before the first event that carries an error, and its data; empty if there is none.

    A finish reason by which a server says that it gave up counts as an error.
    """
    start = 0
    ends = [match.end() for match in _BLANK_LINE.finditer(payload)]
    for end in (*ends, len(payload)):
        data = event_data(payload[start:end])
        if data.startswith(b"{") and (event_error(data) is not None or _gave_up(data)):
            return payload[:start], data
        start = end
    return payload, b""


def is_whole(rest: bytes) -> bool:
    """Whether what a stream ends with, without the blank line that ends an event, is an event all the same, or none."""
    data = event_data(rest)
    if not data or data == DONE_DATA:
        return not rest.strip() or bool(data)
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def missing_line_ends(last: bytes) -> bytes:
    """What a stream that ends so lacks of the blank line, without which clients do not take its last event for one."""
    if not last.strip() or last.endswith((b"\n\n", b"\n\r\n")):
        return b""
    return b"\n" if last.endswith(b"\n") else b"\n\n"


def _gave_up(data: bytes) -> bool:
    return any(b'"%b"' % reason.encode() in data for reason in BROKEN_OFF) and stream_end(b"data: " + data).failed
