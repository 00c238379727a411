"""Reading on in a ledger's files from where one stopped: what an import and a shipper have in common."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from os import PathLike
from typing import BinaryIO, Protocol

import msgspec

from headrace.errors import TraceError
from headrace.ledger.files import ledger_files
from headrace.ledger.tables import Batch, Row
from headrace.metrics.usage import LedgerState, decode_records

BATCH_RECORDS = 2000
TAIL_BYTES = 256


@dataclass(slots=True)
class Mark:
    """How far a file was read: bytes and lines, the run ids that were seen, and what the last bytes were."""

    bytes: int = 0
    lines: int = 0
    runs: dict[int, str] = field(default_factory=dict)
    tail: str = ""

    def row(self) -> Row:
        """As the table of files has it, after head and path."""
        return self.bytes, self.lines, msgspec.json.encode(self.runs).decode(), self.tail


def mark_of(row: Row | None) -> Mark:
    """The mark of a row of the table of files; None: the beginning."""
    if row is None:
        return Mark()
    read, lines, runs, tail = row
    return Mark(int(str(read)), int(str(lines)), msgspec.json.decode(str(runs), type=dict[int, str]), str(tail))


class Tables(Protocol):
    """A database that takes what is read."""

    def mark(self, head: str) -> Row | None:
        """The mark of the file with this head; None: nothing of it was read."""

    def take(self, batch: Batch, head: str, path: str, mark: Mark) -> None:
        """Write the rows and the file's mark: all of it, or nothing."""


def read_on(
    tables: Tables,
    path: str | PathLike[str],
    *,
    most: int = BATCH_RECORDS,
    go_on: Callable[[], bool] = lambda: True,
    reached: dict[str, int] | None = None,
) -> int:
    """Bring what is new in a ledger into the tables.

    Args:
        path: a file, or a directory of files.
        most: records of one batch.
        go_on: asked between two batches; False: stop here.
        reached: is told how far each file was read, in bytes; one that has not grown since is not looked at.

    Returns:
        Bytes of whole lines that were read.

    Raises:
        TraceError: the ledger cannot be read, or a line in its middle is damaged.
    """
    read, seen = 0, {} if reached is None else reached
    for file in ledger_files(path):
        try:
            if seen.get(file) == os.stat(file).st_size:
                continue
            with open(file, "rb") as opened:
                for begin, end in _file(tables, file, opened, most):
                    read += end - begin
                    seen[file] = end
                    if not go_on():
                        return read
        except FileNotFoundError:
            if not os.path.isdir(path):  # else moved away since it was listed
                raise TraceError(file, 0, "ledger cannot be read: there is no such file; check the path") from None
        except OSError as fault:
            raise TraceError(file, 0, f"ledger cannot be read: {fault.strerror}") from fault
    return read


def unread_bytes(path: str | PathLike[str], reached: dict[str, int]) -> int:
    """Bytes of a ledger's files behind what was reached in each."""
    unread = 0
    for file in ledger_files(path):
        with contextlib.suppress(OSError):  # moved away meanwhile
            unread += max(os.stat(file).st_size - reached.get(file, 0), 0)
    return unread


def _file(tables: Tables, path: str, file: BinaryIO, most: int) -> Iterator[tuple[int, int]]:
    """Bring in one file, batch by batch; yields where each begins and ends, the first one empty."""
    first = file.readline()
    if not first.endswith(b"\n"):
        return
    head = _digest(first)
    mark = mark_of(tables.mark(head))
    if mark.bytes and _tail(file, mark.bytes) != mark.tail:
        mark = Mark()
    file.seek(mark.bytes)
    yield mark.bytes, mark.bytes
    while True:
        before = mark.bytes
        batch, mark = _batch(path, file, mark, most)
        if mark.bytes == before:
            return
        tables.take(batch, head, path, mark)
        yield before, mark.bytes


def _batch(path: str, file: BinaryIO, mark: Mark, most: int) -> tuple[Batch, Mark]:
    """The next records, and the mark behind the last of them: torn lines at the end are left for later."""
    batch, state = Batch([], [], [], []), LedgerState(runs=dict(mark.runs))
    lines, upto = _Lines(file), mark
    for record in itertools.islice(decode_records(path, lines, state, mark.lines + 1), most):
        batch.add(record, state)
        upto = Mark(mark.bytes + lines.bytes, mark.lines + lines.count)
    if upto is not mark:
        upto.runs, upto.tail = state.runs, _tail(file, upto.bytes)
    file.seek(upto.bytes)
    return batch, upto


class _Lines:
    """The whole lines of a file, counted."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes = self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        while (line := self._file.readline()).endswith(b"\n"):
            self.bytes += len(line)
            self.count += 1
            yield line


def _tail(file: BinaryIO, upto: int) -> str:
    begin = max(upto - TAIL_BYTES, 0)
    file.seek(begin)
    return _digest(file.read(upto - begin))


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
