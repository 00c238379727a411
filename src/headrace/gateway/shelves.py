"""Shelves: where stored answers lie. One process has them in its memory; workers share a folder that is in memory.

A conversation goes on at whichever worker its next connection comes to, so each reads what any of them has stored. A
worker writes its own files alone, so nothing is locked: a file appears when it is whole, and one that is gone was
forgotten. What a crashed worker had stored is dropped when it starts again, as by a process that has no others.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

Key = tuple[bytes, str]  # whose the answer is, and its id


class Kept(NamedTuple):
    """One answer, in the bytes that it came in, and the request that it answers."""

    body: bytes
    answer: bytes


class Shelf(Protocol):
    """What a store needs of a shelf."""

    def put(self, key: Key, kept: Kept) -> None:
        """Lay an answer there. Raises OSError: there is no room."""

    def get(self, key: Key) -> Kept | None:
        """An answer that lies there; None: it does not, or not any more."""

    def drop(self, key: Key) -> None:
        """Take it away, if it is there."""


class OwnShelf:
    """In this process."""

    def __init__(self) -> None:
        self._kept: dict[Key, Kept] = {}

    def put(self, key: Key, kept: Kept) -> None:
        """Lay an answer there."""
        self._kept[key] = kept

    def get(self, key: Key) -> Kept | None:
        """An answer that lies there; None: it does not."""
        return self._kept.get(key)

    def drop(self, key: Key) -> None:
        """Take it away, if it is there."""
        self._kept.pop(key, None)


class SharedShelf:
    """A folder that workers share.

    Args:
        folder: in memory, and of these workers alone.
        number: of this worker; what the one before in its place has left is dropped.
    """

    def __init__(self, folder: Path, number: int, workers: int) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._workers = (number, *(each for each in range(workers) if each != number))
        for left in folder.glob(f"{number}-*"):
            left.unlink(missing_ok=True)

    def put(self, key: Key, kept: Kept) -> None:
        """Lay an answer there. Raises OSError: there is no room."""
        place, name = self._place(key)
        draft = self._folder / f"{place}-draft"
        draft.write_bytes(msgspec.msgpack.encode(kept))
        os.replace(draft, self._folder / f"{place}-{name}")

    def get(self, key: Key) -> Kept | None:
        """An answer that any of them has laid there; None: nobody has, or it is gone."""
        _, name = self._place(key)
        for worker in self._workers:
            try:
                return msgspec.msgpack.decode((self._folder / f"{worker}-{name}").read_bytes(), type=Kept)
            except FileNotFoundError:
                continue
        return None

    def drop(self, key: Key) -> None:
        """Take it away, whoever laid it there."""
        _, name = self._place(key)
        for worker in self._workers:
            (self._folder / f"{worker}-{name}").unlink(missing_ok=True)

    def _place(self, key: Key) -> tuple[int, str]:
        return self._workers[0], sha256(b"%b\0%b" % (key[0], key[1].encode())).hexdigest()
