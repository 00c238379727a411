"""The key file: JSON of the operator's, written by `headrace keys`, read by every worker.

Written under a lock beside it, as a whole, to a new file that takes the old one's place: a reader sees the old file or
the new one. Nobody but its owner and its group may read it.

A worker looks at the file's times, size and inode (`KeyWatch.look`), and reads it when they are others. Whatever is
wrong with it then (gone, half-written by an editor, not readable, faulty) changes nothing: the keys that were read last
hold on, and the operator is told. A valid key is refused because its owner revoked it, never because a file is broken.
So is the start of a worker in the place of one that crashed: it goes on with the copy that was kept of the last good
file. Only a gateway that starts for the first time must have a file that can be read.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from headrace.errors import ConfigError, Fault
from headrace.tenancy.keys import Key, KeyRing
from headrace.tenancy.secret_file import EXPOSED, ExposedSecret, read_secret

SCHEMA = 1
MOST_KEYS = 10_000

Stamp = tuple[int, int, int]


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the file."""

    schema: int
    keys: tuple[Key, ...]


_DECODER = msgspec.json.Decoder(KeyFile)


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys in a file.

    Raises:
        ConfigError: it cannot be read, others than its owner may, or it holds no keys.
    """
    try:
        return _decoded(path, read_secret(path))
    except OSError as error:
        raise _fault(path, f"{error.strerror}; make one with `headrace keys create`") from error
    except ExposedSecret as error:
        raise _fault(path, str(error)) from error


def _decoded(path: Path, content: bytes) -> tuple[Key, ...]:
    try:
        found = _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _fault(path, f"it is no key file: {error}") from error
    if found.schema != SCHEMA:
        raise _fault(path, f"its schema is {found.schema}; this version reads {SCHEMA}")
    names = [key.name for key in found.keys]
    if len(names) > MOST_KEYS:
        raise _fault(path, f"it holds {len(names)} keys; at most {MOST_KEYS} are kept: remove revoked ones")
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise _fault(path, f"two keys are called {twice!r}; rename one")
    return found.keys


@contextmanager
def changing(path: Path) -> Iterator[list[Key]]:
    """The keys, to be changed in place: nobody else changes them meanwhile, and they are written at the end.

    Raises:
        ConfigError: the file is there and cannot be read.
        OSError: it cannot be written.
    """
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = list(read_keys(path)) if path.exists() else []
        yield keys
        _replace(path, keys)
    finally:
        os.close(lock)


def _replace(path: Path, keys: list[Key]) -> None:
    """Put a new file in the place of the old one, on the disk before it has its name."""
    content = msgspec.json.format(msgspec.json.encode(KeyFile(SCHEMA, tuple(keys))), indent=2) + b"\n"
    _decoded(path, content)  # what could not be read back is not written
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            _keep_owner(path, fd)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _keep_owner(path: Path, fd: int) -> None:
    """A gateway of another user goes on reading the file that root changes: it is whose the old one was."""
    with suppress(OSError):
        before = path.stat()
        os.fchown(fd, before.st_uid, before.st_gid)
        os.fchmod(fd, stat.S_IMODE(before.st_mode) & ~EXPOSED)


class KeyWatch:
    """The keys of a running gateway.

    Attributes:
        ring: those that hold.
        fault: why the file as it is cannot be read; empty: it can.
        faults: how often it could not.
    """

    def __init__(self, path: Path, kept: Path | None = None, tell: Callable[[str], None] = lambda said: None) -> None:
        """
        Args:
            kept: where a copy of the last good file is, for a worker that is started again.
            tell: is given what the operator should hear of.

        Raises:
            ConfigError: the file cannot be read, and there is no copy of it.
        """
        self.path = path
        self.fault = ""
        self.faults = 0
        self._kept = kept
        self._tell = tell
        self._stamp: Stamp | None = None
        try:
            self._stamp = _stamp(path)
            keys = read_keys(path)
            self._keep(keys)
        except (OSError, ConfigError) as error:
            if kept is None or not kept.exists():
                raise error if isinstance(error, ConfigError) else _missing(path, error) from error
            keys = read_keys(kept)
            self._note(error)
        self.ring = KeyRing(keys)

    def look(self) -> bool:
        """Take on the file if it is another one; returns whether it was. Whatever is wrong with it is told."""
        try:
            stamp = _stamp(self.path)
            if stamp == self._stamp and not self.fault:
                return False
            keys = read_keys(self.path)
        except (OSError, ConfigError) as error:
            self._note(error)
            return False
        changed = stamp != self._stamp or bool(self.fault)
        self._stamp, self.fault = stamp, ""
        self.ring = KeyRing(keys)
        self._keep(keys)
        return changed

    def _note(self, error: Exception) -> None:
        said = "; ".join(map(str, error.faults)) if isinstance(error, ConfigError) else str(error)
        self.faults += 1
        if said != self.fault:
            self.fault = said
            self._tell(f"the key file cannot be read: {said}; the keys that were read last hold on")

    def _keep(self, keys: tuple[Key, ...]) -> None:
        if self._kept is not None:
            _replace(self._kept, list(keys))


def _stamp(path: Path) -> Stamp:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino


def _missing(path: Path, error: OSError) -> ConfigError:
    return _fault(path, f"{error.strerror}; make one with `headrace keys create`")


def _fault(path: Path, message: str) -> ConfigError:
    return ConfigError("keys", [Fault(str(path), message)])
