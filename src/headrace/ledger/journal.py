"""Journal files: what `policy.journal` encodes, written as it happens and read back line by line."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike, fspath
from types import TracebackType

import msgspec

from headrace.errors import TraceError
from headrace.policy import AnyAction, AnyEvent
from headrace.policy.journal import JournalEntry, JournalHeader, decode_entries, decode_header, encode_entry
from headrace.policy.journal import encode_header as _encode_header

BUFFER_BYTES = 1 << 16


class JournalFile:
    """Records one run of an engine, buffered; a journal that was cut short ends at a broken line."""

    def __init__(self, path: str | PathLike[str], header: JournalHeader) -> None:
        """Raises OSError: the file cannot be written. An earlier journal there is replaced."""
        self._file = open(path, "wb", buffering=BUFFER_BYTES)  # noqa: SIM115 - closed by close()
        self._file.write(_encode_header(header))
        self._file.flush()

    def record(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        """Write one call of the engine."""
        self._file.write(encode_entry(now_s, event, actions))

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self._file.close()

    def __enter__(self) -> JournalFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journal(path: str | PathLike[str]) -> tuple[JournalHeader, Iterator[JournalEntry]]:
    """The header and the entries of a journal file.

    Raises:
        TraceError: the file cannot be opened, or a line (then, while iterating) is not a journal's.
    """
    try:
        with open(path, "rb") as file:
            header = decode_header(file.readline())
    except OSError as error:
        raise TraceError(fspath(path), 0, f"cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise TraceError(fspath(path), 1, f"not the header of a journal: {error}") from error
    return header, _entries(fspath(path))


def _entries(path: str) -> Iterator[JournalEntry]:
    with open(path, "rb") as file:
        file.readline()
        for number, line in enumerate(file, start=2):
            try:
                yield next(decode_entries([line]))
            except msgspec.DecodeError as error:
                raise TraceError(path, number, f"not a journal entry: {error}") from error
