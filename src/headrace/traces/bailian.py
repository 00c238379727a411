"""The Qwen-Bailian traces: one JSON object a line; lengths, chats that continue chats, ids of 16-token blocks.

Seconds. A line names the chat it continues (`parent_chat_id`, -1: none). How long answers took was not recorded, so a
turn comes when it was recorded to come, or when the turn before has been answered if that is later. A second
continuation of one chat is a session of its own. The last block holds padding as well, so a full hit of it says little.
Source: github.com/alibaba-edu/qwen-bailian-usagetraces-anon (Apache-2.0).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from headrace.errors import TraceError
from headrace.traces._lines import Clock, good_rows, tokens
from headrace.traces.interleaved import IDLE_S, Interleaved, Row
from headrace.traces.source import Head, Member
from headrace.traces.trace import TraceFile
from headrace.workload import Item, Prefix

SHOWS = '{"chat_id": ..., "parent_chat_id": ..., "timestamp": s, "input_length": ..., "output_length": ...} a line'
BLOCK_TOKENS = 16


class _Line(msgspec.Struct, gc=False):
    chat_id: int | str
    timestamp: float
    input_length: int
    output_length: int
    parent_chat_id: int | str = -1
    hash_ids: list[int] = []


class BailianTrace(TraceFile):
    """One file of a Bailian trace."""

    format = "bailian"

    def items(self, t0_ns: int) -> Iterator[Item]:
        """Chats as tasks; those that nothing continues are tasks of one turn."""
        for member in self.source.members():
            yield from Interleaved(self._rows(member), self.workload_class).items()

    def _rows(self, member: Member) -> Iterator[Row]:
        session_of: OrderedDict[int | str, tuple[str, float]] = OrderedDict()  # the newest chat of each session
        for line in good_rows(member, _Parser(), self.settings.bad_lines):
            if line.chat_id in session_of:
                message = f"chat_id {line.chat_id} comes a second time within an hour; drop one of the two lines"
                self.settings.bad_lines.note(TraceError(member.where, 0, message))
                continue
            session, _ = session_of.pop(line.parent_chat_id, (str(line.chat_id), 0.0))
            session_of[line.chat_id] = session, line.timestamp
            while next(iter(session_of.values()))[1] < line.timestamp - IDLE_S:
                session_of.popitem(last=False)
            prefix = Prefix(BLOCK_TOKENS, tuple(line.hash_ids)) if line.hash_ids else None
            yield Row(line.timestamp, session, line.input_length, line.output_length, prefix=prefix)


def recognises(head: Head) -> bool:
    """Chats with lengths."""
    return b'"chat_id"' in head.start and b'"input_length"' in head.start


class _Parser:
    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Line).decode
        self._clock = Clock("timestamp")

    def __call__(self, text: bytes) -> _Line:
        line = self._decode(text)
        tokens("input_length", line.input_length)
        tokens("output_length", line.output_length, 0)
        self._clock.tick(line.timestamp)
        return line
