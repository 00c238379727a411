"""Which files a ledger is: one, or all of a directory.

    usage.jsonl                        one writer, one file
    ledger/gateway.00000001.jsonl      a directory: each writer has a name, and goes on in the next file when it rotates
    ledger/gateway.00000002.jsonl
    ledger/worker-1.00000001.jsonl

A file has one writer at a time, which a lock on it sees to. The next file is made whole under another name, locked, and
then renamed: whoever sees it sees its head. A process that dies in between leaves a `.new` file, which nobody reads and
the next rotation replaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from os import PathLike, fspath
from pathlib import Path

from headrace.errors import ConfigError, Fault, TraceError

SUFFIX = ".jsonl"
_NUMBERED = re.compile(r"(?P<writer>.+)\.(?P<number>\d{8})\.jsonl")


def ledger_files(path: str | PathLike[str]) -> list[str]:
    """The files of a ledger: itself, or those of a directory by name, so that each writer's are in order.

    Raises:
        TraceError: the directory cannot be read.
    """
    if not os.path.isdir(path):
        return [fspath(path)]
    try:
        return [str(Path(path, name)) for name in sorted(os.listdir(path)) if name.endswith(SUFFIX)]
    except OSError as fault:
        raise TraceError(fspath(path), 0, f"ledger cannot be read: {fault.strerror}") from fault


def open_last(path: str | PathLike[str], writer: str, *, in_directory: bool) -> tuple[str, int]:
    """Open the file that `writer` goes on with, for appending, and lock it.

    Args:
        in_directory: the ledger is a directory, made if there is none at `path`.

    Returns:
        The file's path and its descriptor.

    Raises:
        ConfigError: it cannot be written, or another process writes it.
    """
    if not os.path.isdir(path) and not in_directory:
        return fspath(path), _open_locked(fspath(path))
    _make_directory(Path(path))
    while True:
        last = _last_of(path, writer)
        fd = _open_locked(last)
        if last == _last_of(path, writer):
            return last, fd
        os.close(fd)  # its writer rotated just now


def next_file(path: str) -> str:
    """The file after this one of a directory."""
    found = _NUMBERED.fullmatch(os.path.basename(path))
    if found is None:
        raise ConfigError("ledger", [Fault(path, "is one file; a ledger that rotates is a directory")])
    return str(Path(path).with_name(_name(found["writer"], int(found["number"]) + 1)))


def put_in_place(path: str, content: bytes, *, sync: bool) -> int:
    """Make a file that is there as a whole or not at all, and keep it open for appending, locked.

    Args:
        sync: force it to the disk, too.

    Raises:
        OSError: it cannot be made; nothing is at `path` then.
    """
    new = path + ".new"
    fd = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_all(fd, content)
        if sync:
            os.fsync(fd)
        os.rename(new, path)
        if sync:
            sync_directory(path)
    except BaseException:
        os.close(fd)
        for made in (new, path):
            with contextlib.suppress(OSError):
                os.unlink(made)
        raise
    return fd


def sync_directory(path: str) -> None:
    """Force to the disk that the file at `path` has this name."""
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Nearly always one call; the kernel may take less when the disk fills."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def _make_directory(path: Path) -> None:
    if not path.exists() and path.suffix == SUFFIX:
        message = f"names a file, and a ledger that rotates is a directory; name one, as {path.with_suffix('')}"
        raise ConfigError("ledger", [Fault(str(path), message)])
    try:
        path.mkdir(exist_ok=True)
    except OSError as fault:
        message = f"cannot be made a directory, which this ledger needs: {fault.strerror}"
        raise ConfigError("ledger", [Fault(str(path), message)]) from fault


def _last_of(path: str | PathLike[str], writer: str) -> str:
    numbers = [int(m["number"]) for m in map(_NUMBERED.fullmatch, os.listdir(path)) if m and m["writer"] == writer]
    return str(Path(path, _name(writer, max(numbers, default=1))))


def _name(writer: str, number: int) -> str:
    return f"{writer}.{number:08d}{SUFFIX}"


def _open_locked(path: str) -> int:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as fault:
        raise ConfigError("ledger", [Fault(path, f"cannot be written: {fault.strerror}")]) from fault
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ConfigError("ledger", [Fault(path, "is not a regular file; name one that can be read back")])
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        os.close(fd)
        message = "another process writes this ledger; give each gateway a file of its own"
        raise ConfigError("ledger", [Fault(path, message)]) from fault
    return fd
