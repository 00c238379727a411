"""Opening trace files: plain, gzip or xz, one file or an archive or a folder of them, always as a stream.

A path may end in `#NAME`: of an archive or a folder, only what begins with NAME. What a file is, its first bytes say,
not its name. An archive is read member by member and never unpacked to disk.
"""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from os import PathLike, fspath
from typing import IO, NamedTuple

from headrace.errors import TraceError

HEAD_BYTES = 1 << 16
HEAD_LINES = 4
LINE_BYTES = 1 << 27  # a longer line is not read: a file without line ends must not fill the memory
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
_TAR_MAGIC = slice(257, 262)
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, tarfile.ReadError)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of text: the trace itself, or a part of an archive or folder. `where` names it in messages."""

    name: str
    where: str
    file: IO[bytes]

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Its lines with their numbers. Raises TraceError where it is damaged or cut off."""
        number = 0
        with damage_explained(self.where, lambda: number + 1):
            while line := self.file.readline(LINE_BYTES):
                number += 1
                if len(line) == LINE_BYTES:
                    raise TraceError(
                        self.where, number, f"the line is longer than {LINE_BYTES:,} bytes; is it a trace?"
                    )
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line

    def read(self) -> bytes:
        """All of it. Raises TraceError where it is damaged or cut off."""
        with damage_explained(self.where, lambda: 0):
            return self.file.read()


class Head(NamedTuple):
    """What a format is recognised by: the first file's name and lines, and its whole beginning."""

    name: str
    lines: tuple[bytes, ...]
    start: bytes


class damage_explained:  # noqa: N801 - reads as a verb where it is used
    """A file that cannot be read on is the user's to replace: raises TraceError for it."""

    def __init__(self, where: str, line: object) -> None:
        self._where = where
        self._line = line

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        line = self._line() if callable(self._line) else 0
        if isinstance(error, _DAMAGE):
            message = f"the compressed file is damaged or cut off here ({error}); get it again from where it came"
            raise TraceError(self._where, line, message) from error
        if isinstance(error, OSError):
            raise TraceError(self._where, 0, f"cannot be opened: {error.strerror or error}") from error


class Source:
    """A trace's path, opened afresh for every pass."""

    def __init__(self, path: str | PathLike[str]) -> None:
        text = fspath(path)
        self.path, _, self.part = (text, "", "") if os.path.exists(text) else text.partition("#")
        self.name = text

    def members(self) -> Iterator[Member]:
        """Its files, in the order of the archive, or by name. Raises TraceError: it cannot be opened."""
        with damage_explained(self.name, lambda: 0):
            if os.path.isdir(self.path):
                yield from self._folder()
                return
            with open(self.path, "rb") as raw:
                unpacked = _unpacked(raw)
                start = unpacked.peek(HEAD_BYTES)[:512]  # type: ignore[attr-defined]
                if start[_TAR_MAGIC] == b"ustar":
                    yield from self._archive(unpacked)
                else:
                    yield Member(os.path.basename(self.path), self.path, unpacked)

    def head(self) -> Head:
        """How the first file begins. Raises TraceError: it cannot be opened, or there is none."""
        for member in self.members():
            with damage_explained(member.where, lambda: 1):
                start = member.file.read(HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")
            return Head(member.name, tuple(start.split(b"\n")[:HEAD_LINES]), start)
        raise TraceError(
            self.name, 0, f"holds no file that begins with {self.part!r}" if self.part else "holds no file"
        )

    def _wanted(self, name: str) -> bool:
        return name.startswith(self.part) and not os.path.basename(name).startswith(".")

    def _folder(self) -> Iterator[Member]:
        for root, folders, files in os.walk(self.path):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(root, name)
                if self._wanted(os.path.relpath(path, self.path)):
                    with open(path, "rb") as raw:
                        yield Member(os.path.relpath(path, self.path), path, _unpacked(raw))

    def _archive(self, stream: IO[bytes]) -> Iterator[Member]:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for info in archive:
                file = archive.extractfile(info) if info.isfile() and self._wanted(info.name) else None
                if file is not None:
                    yield Member(info.name, f"{self.path}#{info.name}", file)


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    start = raw.peek(6)[:6]  # type: ignore[attr-defined]
    if start.startswith(_GZIP):
        return BufferedReader(gzip.open(raw), HEAD_BYTES)
    return BufferedReader(lzma.open(raw), HEAD_BYTES) if start.startswith(_XZ) else raw
