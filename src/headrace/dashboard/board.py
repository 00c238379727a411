"""The board: where the workers of one gateway tell each other what they saw, while somebody looks.

The admin port belongs to whichever worker the kernel gives the connection to, so a page is one worker's affair and must
show all. Who has a viewer says so in its row of `watch`; while any row is fresh, every worker writes its slice once a
second. When nobody looks, each reads a few rows of eight bytes, and nothing is worked out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from headrace.dashboard.seen import Slice
from headrace.peers import SharedRows

FRESH_S: Final = 3.5  # rows are written once a second: who has missed so many has no viewer, or is gone
ROW_BYTES: Final = 16 * 1024 * 1024  # of address space: what is not written takes no memory


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands among the workers of its gateway; `shared`: a directory in memory, None if it is alone."""

    number: int = 0
    workers: int = 1
    shared: Path | None = None


class Board:
    """What the workers tell each other. Alone there is nobody to tell."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._watch = self._slices = self._calls = None
        if place.shared is not None:
            self._watch = SharedRows(place.shared / "watch", place.workers, 64)
            self._slices = SharedRows(place.shared / "slices", place.workers, ROW_BYTES)
            self._calls = SharedRows(place.shared / "calls", place.workers, ROW_BYTES)

    def watch(self, wanted: int) -> None:
        """Somebody looks at this worker's page; `wanted`: the number of its last wish for everybody's calls."""
        if self._watch is not None:
            self._watch.write(self._place.number, msgspec.msgpack.encode(wanted))

    def watched(self) -> dict[int, int]:
        """Other workers that have viewers, and the number of their last wish."""
        found = {}
        for number, data in self._fresh(self._watch):
            found[number] = msgspec.msgpack.decode(data, type=int)
        return found

    def show(self, seen: Slice) -> None:
        """Let the others see a slice."""
        if self._slices is not None:
            self._slices.write(self._place.number, msgspec.msgpack.encode(seen))

    def slices(self) -> list[Slice]:
        """The other workers'."""
        return [msgspec.msgpack.decode(data, type=Slice) for _, data in self._fresh(self._slices)]

    def give(self, calls: bytes) -> None:
        """Let the others have this worker's last calls."""
        if self._calls is not None:
            self._calls.write(self._place.number, calls[-ROW_BYTES:])

    def given(self, since_s: float) -> list[bytes]:
        """What the other workers gave after `since_s`, on the monotonic clock."""
        return [data for _, data in self._rows(self._calls, since_s)]

    @property
    def others(self) -> int:
        """How many other workers there are."""
        return self._place.workers - 1

    def _fresh(self, rows: SharedRows | None) -> list[tuple[int, bytes]]:
        return self._rows(rows, time.monotonic() - FRESH_S)

    def _rows(self, rows: SharedRows | None, since_s: float) -> list[tuple[int, bytes]]:
        if rows is None:
            return []
        read = ((number, rows.read(number)) for number in range(rows.rows) if number != self._place.number)
        return [(number, row.data) for number, row in read if row is not None and row.written_s >= since_s]
