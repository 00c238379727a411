"""The journal: every event that an engine was given and every action it answered, one line each.

A journal recorded live is run through a fresh engine again: the same events at the same times must give the same
actions, to the last digit. That is what "the simulator runs the production brain" rests on, so the check is part of the
product (`headrace journal verify`). The first line holds all that a fresh engine needs; floats are written so that they
read back exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from headrace.policy.action import AnyAction
from headrace.policy.event import AnyEvent


class JournalHeader(msgspec.Struct, frozen=True, tag="headrace-journal"):
    """First line of a journal.

    Attributes:
        fleet: text of the fleet file.
    """

    schema: int
    version: str
    seed: int
    policy: str
    fleet: str


class JournalEntry(msgspec.Struct, frozen=True, array_like=True):
    """One call of `PolicyEngine.handle`."""

    now_s: float
    event: AnyEvent
    actions: list[AnyAction]


class Difference(msgspec.Struct, frozen=True):
    """The first entry whose actions came out differently."""

    index: int
    entry: JournalEntry
    actions: list[AnyAction]


class Handler(Protocol):
    """What verification needs of an engine."""

    def handle(self, now_s: float, event: AnyEvent) -> list[AnyAction]:
        """Apply one event."""


_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(JournalHeader)
_entry_decoder = msgspec.json.Decoder(JournalEntry)


def encode_header(header: JournalHeader) -> bytes:
    """One line, with its newline."""
    return _encoder.encode(header) + b"\n"


def encode_entry(now_s: float, event: AnyEvent, actions: list[AnyAction]) -> bytes:
    """One line, with its newline."""
    return _encoder.encode((now_s, event, actions)) + b"\n"


def decode_header(line: bytes) -> JournalHeader:
    """Raises msgspec.DecodeError when the line is not a journal's header."""
    return _header_decoder.decode(line)


def decode_entries(lines: Iterable[bytes]) -> Iterator[JournalEntry]:
    """Raises msgspec.DecodeError at a line that is not an entry."""
    for line in lines:
        yield _entry_decoder.decode(line)


def first_difference(engine: Handler, entries: Iterable[JournalEntry]) -> tuple[int, Difference | None]:
    """Run a fresh engine over recorded events.

    Returns:
        (entries run, the first entry that differs or None).
    """
    count = 0
    for index, entry in enumerate(entries):
        actions = engine.handle(entry.now_s, entry.event)
        if actions != entry.actions:
            return index, Difference(index, entry, actions)
        count = index + 1
    return count, None
