"""An answer that passes as it came is looked at in few places: before its first token, at its end, where it broke.

Everything between is nobody's business. `Splice` says how each of these looks is done in one API; the rules are those
of the data plane: an answer begins with its first token, and is complete only if its last events say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from headrace.wire.usage import StreamEnd, Usage


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
