"""Trace context: whose trace a request belongs to, and whether it is recorded.

A parent that sends `traceparent` has decided, and is followed both ways. Without one the decision is made here, at the
head, by a ratio; a request that is not recorded costs one draw of a random number. Where nothing is recorded, what a
client sent is passed on as it came; else each attempt is a parent of its own.

Source: W3C Trace Context, Recommendation, 23 November 2021, sections 3.2 (traceparent) and 3.3 (tracestate).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"
SAMPLED = 1
_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


class TraceContext(NamedTuple):
    """Where a recorded request stands.

    Attributes:
        span_id: of the request's own span; parent_id: of the span of whoever asked; None: nobody said.
        state: as it came, and as it goes on; empty: none.
    """

    trace_id: int
    span_id: int
    parent_id: int | None = None
    state: bytes = b""


class Sampler:
    """Decides which requests are recorded, and names spans."""

    __slots__ = ("_random", "_ratio")

    def __init__(self, ratio: float, random: Random) -> None:
        """
        Args:
            ratio: of the requests whose parent has not decided.
        """
        self._ratio = ratio
        self._random = random

    def context(self, headers: Mapping[bytes, bytes]) -> TraceContext | None:
        """The context of a request with these headers; None: it is not recorded."""
        said = headers.get(TRACEPARENT)
        parent = None if said is None else parsed(said)
        if parent is None:
            return TraceContext(self._id(128), self.span_id()) if self._random.random() < self._ratio else None
        trace_id, parent_id, flags = parent
        if not flags & SAMPLED:
            return None
        return TraceContext(trace_id, self.span_id(), parent_id, headers.get(TRACESTATE, b""))

    def span_id(self) -> int:
        """A new one."""
        return self._id(64)

    def _id(self, bits: int) -> int:
        return self._random.getrandbits(bits) or 1


def parsed(header: bytes) -> tuple[int, int, int] | None:
    """Trace id, parent id and flags of a `traceparent`; None: it is to be ignored."""
    found = _FORM.fullmatch(header)
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5] is not None):
        return None
    trace_id, parent_id = int(found[2], 16), int(found[3], 16)
    return (trace_id, parent_id, int(found[4], 16)) if trace_id and parent_id else None


def passed_on(headers: Mapping[bytes, bytes], context: TraceContext, span_id: int) -> dict[bytes, bytes]:
    """The client's headers, with the context of a recorded attempt in place of its own."""
    own = {name: value for name, value in headers.items() if name != TRACESTATE or context.state}
    own[TRACEPARENT] = b"00-%032x-%016x-01" % (context.trace_id, span_id)
    return own
