"""The board: where the workers of one gateway tell each other what they saw, while somebody looks.

The admin port belongs to whichever worker the kernel gives the connection to, so a page is one worker's affair and must
show all. Who has a viewer says so in its row of `watch`; while any row is fresh, every worker writes its slice once a
second. When nobody looks, each reads a few rows of eight bytes, and nothing is worked out.
"""

from __future__ import annotations

import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from headrace.dashboard.history import Taken
from headrace.dashboard.seen import Slice
from headrace.peers import SharedRows

FRESH_S: Final = 3.5  # rows are written once a second: who has missed so many has no viewer, or is gone
ROW_BYTES: Final = 16 * 1024 * 1024  # of address space: what is not written takes no memory
PACKED_BYTES: Final = 15  # of MessagePack, around calls: an array's head 1, a float 9, the head of the bytes 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands among the workers of its gateway; `shared`: a directory in memory, None if it is alone."""

    number: int = 0
    workers: int = 1
    shared: Path | None = None


class Board:
    """What the workers tell each other. Alone there is nobody to tell."""

    def __init__(self, place: Place, row_bytes: int = ROW_BYTES) -> None:
        """
        Args:
            row_bytes: most bytes of a slice, of a sample, and of a worker's calls; the same for all workers.
        """
        self._place = place
        self._watch = self._slices = self._calls = self._samples = None
        if place.shared is not None:
            self._watch = SharedRows(place.shared / "watch", place.workers, 64)
            self._slices = SharedRows(place.shared / "slices", place.workers, row_bytes)
            self._calls = SharedRows(place.shared / "calls", place.workers, row_bytes)
            self._samples = SharedRows(place.shared / "samples", place.workers, row_bytes)

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

    def tell(self, taken: Taken) -> None:
        """Let the others have a sample."""
        if self._samples is not None:
            self._samples.write(self._place.number, msgspec.msgpack.encode(taken))

    def told(self, since_s: float) -> Taken | None:
        """The newest sample that another worker took after `since_s`, on the monotonic clock."""
        found = [msgspec.msgpack.decode(data, type=Taken) for _, data in self._rows(self._samples, since_s)]
        return max(found, key=lambda taken: taken.at_s, default=None)

    def give(self, zero_unix_s: float, calls: bytes) -> None:
        """Let the others have this worker's last calls, as many as fit.

        Args:
            zero_unix_s: when its engine's second 0 was. calls: a line each, the oldest first.
        """
        if self._calls is not None:
            room = self._calls.row_bytes - PACKED_BYTES
            if len(calls) > room:
                calls = calls[calls.index(b"\n", len(calls) - room - 1) + 1 :]
            self._calls.write(self._place.number, msgspec.msgpack.encode((zero_unix_s, calls)))

    def given(self, since_s: float, known: Container[int] = ()) -> dict[int, tuple[float, bytes]]:
        """What other workers than the `known` ones gave after `since_s`, on the monotonic clock, by their number."""
        return {
            number: msgspec.msgpack.decode(data, type=tuple[float, bytes])
            for number, data in self._rows(self._calls, since_s, known)
        }

    @property
    def others(self) -> int:
        """How many other workers there are."""
        return self._place.workers - 1

    def _fresh(self, rows: SharedRows | None) -> list[tuple[int, bytes]]:
        return self._rows(rows, time.monotonic() - FRESH_S)

    def _rows(self, rows: SharedRows | None, since_s: float, known: Container[int] = ()) -> list[tuple[int, bytes]]:
        if rows is None:
            return []
        wanted = (number for number in range(rows.rows) if number != self._place.number and number not in known)
        read = ((number, rows.read(number, since_s)) for number in wanted)
        return [(number, row.data) for number, row in read if row is not None]
