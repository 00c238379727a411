"""Rows in shared memory: each worker of a gateway writes its own, and reads those of the others, without a lock.

A row has a header and a text of bytes. Who writes makes the row's number odd, writes, and makes it even (a sequence
lock): a reader that meets an odd number, or another number after copying than before, copies again. A process can be
killed in the middle: its number stays odd and its row is passed over, until its successor writes. What the processor
reorders on its way to another core is caught by a checksum, which no lock in Python could order.

    number 8 | written at, monotonic ns 8 | bytes 4 | CRC-32 of time and bytes 4 | the bytes

The time of writing is the heartbeat: a row that is older than `dead_after_s` is of somebody who is gone.

Source: sequence locks, as in Linux (Documentation/locking/seqlock.rst); CLOCK_MONOTONIC is one clock for all processes
of a machine (clock_gettime(2)).
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from os import PathLike
from typing import NamedTuple
from zlib import crc32

from headrace.errors import InvariantError
from headrace.peers.exchange import Heard

HEADER = struct.Struct("<QQII")
NUMBER = struct.Struct("<Q")
TIME = struct.Struct("<Q")
TRIES = 16  # a writer takes microseconds: who reads torn bytes so often meets one that died


class Row(NamedTuple):
    """What a row says, and the monotonic time at which it was written, in seconds."""

    data: bytes
    written_s: float


class SharedRows:
    """Rows of equal size in a file that several processes map. Only what is written takes memory."""

    def __init__(self, path: str | PathLike[str], rows: int, row_bytes: int) -> None:
        """
        Args:
            row_bytes: most bytes of a row.

        Raises:
            OSError: the file cannot be made or mapped.
        """
        self.rows = rows
        self.row_bytes = row_bytes
        self._stride = HEADER.size + row_bytes
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.truncate(fd, rows * self._stride)
            self._memory = mmap.mmap(fd, rows * self._stride)
        finally:
            os.close(fd)

    def write(self, row: int, data: bytes) -> None:
        """Replace what a row says; one process writes a row at a time.

        Raises:
            InvariantError: it is too long.
        """
        if len(data) > self.row_bytes:
            raise InvariantError(f"row {row} of shared memory: {len(data)} bytes do not fit into {self.row_bytes}")
        at, memory = row * self._stride, self._memory
        now_ns = time.monotonic_ns()
        number = NUMBER.unpack_from(memory, at)[0] | 1
        NUMBER.pack_into(memory, at, number)
        memory[at + HEADER.size : at + HEADER.size + len(data)] = data
        HEADER.pack_into(memory, at, number, now_ns, len(data), _checksum(now_ns, data))
        NUMBER.pack_into(memory, at, number + 1)

    def read(self, row: int, since_s: float = 0.0) -> Row | None:
        """What a row says; None: nothing yet, nothing since then (monotonic), or its writer died in the middle."""
        at, memory = row * self._stride, self._memory
        for _ in range(TRIES):
            number, now_ns, length, checksum = HEADER.unpack_from(memory, at)
            if number == 0 or (not number & 1 and now_ns < since_s * 1e9):
                return None  # before it is copied: who waits for a row looks often
            if number & 1 or length > self.row_bytes:
                continue
            data = memory[at + HEADER.size : at + HEADER.size + length]
            if NUMBER.unpack_from(memory, at)[0] == number and _checksum(now_ns, data) == checksum:
                return Row(data, now_ns / 1e9)
        return None

    def close(self) -> None:
        """Unmap the file; it stays."""
        self._memory.close()


class MemoryPeers:
    """The other workers of one gateway. Implements `Peers`."""

    fault = ""

    def __init__(self, rows: SharedRows, own: int, dead_after_s: float) -> None:
        """
        Args:
            own: the row of this worker.
            dead_after_s: who has written nothing for so long is gone.
        """
        self._rows = rows
        self._own = own
        self._dead_after_s = dead_after_s

    async def exchange(self, said: bytes) -> list[Heard]:
        """Write our row and read those of all who live."""
        self._rows.write(self._own, said)
        oldest_s = time.monotonic() - self._dead_after_s
        read = ((number, self._rows.read(number)) for number in range(self._rows.rows) if number != self._own)
        return [
            Heard(f"worker-{number}", row.data, row.written_s)
            for number, row in read
            if row is not None and row.data and row.written_s >= oldest_s
        ]

    async def close(self) -> None:
        """Leave an empty row: nobody is here."""
        self._rows.write(self._own, b"")


def _checksum(now_ns: int, data: bytes) -> int:
    return crc32(data, crc32(TIME.pack(now_ns)))
