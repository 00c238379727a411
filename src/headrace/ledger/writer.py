"""Writing a ledger: what every attempt used, so that a bill can be checked and a crash loses nothing.

An attempt is written twice, when it is dispatched (`opened`) and when it ends (`closed`), to a file opened for
appending: once `write` returns, the bytes are the kernel's, and `kill -9` cannot take them back. (A power cut can: the
file is not synced.) A busy driver writes the records of one round together: it asks to be woken when the first one
waits (`defer`), and calls `flush` before any byte of that round leaves. So what was sent is in the file.

A record that cannot be written (the disk is full) waits in memory for the next `flush`; one that was cut goes on where
it was cut, since one process writes a file at a time, which a lock on it sees to. At the next start every attempt that
is still open gets one `interrupted` record with the interval that holds its true count; a file that is repaired already
is left as it is.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike, fspath

import msgspec

from headrace.errors import ConfigError, Fault, InvariantError
from headrace.ledger.reader import read_ledger
from headrace.metrics.usage import (
    AttemptStatus,
    Closed,
    Interrupted,
    LedgerState,
    Opened,
    Record,
    Recovered,
    RunStarted,
)

FIRST_BYTES = b'{"kind":"run"'


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a start found: attempts that earlier runs left open (now interrupted), and torn lines with their numbers."""

    interrupted: tuple[Opened, ...]
    torn: tuple[tuple[int, bytes], ...]
    last_run: int


class UsageLedger:
    """The ledger of one run. Opening it recovers what earlier runs left behind (see `recovered`).

    Args:
        started_unix_s: wall time of the driver's second 0; None: now.

    Raises:
        ConfigError: the file cannot be written, or another process writes it.
        TraceError: it is damaged.
    """

    def __init__(self, path: str | PathLike[str], *, started_unix_s: float | None = None) -> None:
        self.path = fspath(path)
        self._encode = msgspec.json.Encoder().encode
        self._open: set[int] = set()
        self._waiting: list[bytes] = []
        self._wake: Callable[[], None] | None = None
        self._fd = _open_locked(self.path)
        try:
            self.recovered = _repair(self.path, self._fd)
            self.run = self.recovered.last_run + 1
            started = time.time() if started_unix_s is None else started_unix_s
            self._write(RunStarted(self.run, started))
        except BaseException:
            os.close(self._fd)
            raise

    def opened(
        self,
        attempt_id: int,
        request_id: int,
        backend: str,
        workload_class: str,
        at_s: float,
        *,
        input_tokens: int,
        reserved_output_tokens: int | None,
    ) -> None:
        """Write that an attempt is dispatched; call it before its first byte is sent.

        Args:
            attempt_id: unique within this run.
            at_s: seconds since the driver's start.
            input_tokens: as estimated.
            reserved_output_tokens: the most it may produce; None: no bound.

        Raises:
            InvariantError: this attempt is open already.
            OSError: the record cannot be written now, and nobody defers.
        """
        if attempt_id in self._open:
            raise InvariantError(f"ledger: attempt {attempt_id} of run {self.run} was opened twice")
        self._open.add(attempt_id)
        self._write(
            Opened(
                *(self.run, attempt_id, request_id, backend, workload_class),
                *(at_s, input_tokens, reserved_output_tokens),
            )
        )

    def closed(
        self,
        attempt_id: int,
        status: AttemptStatus | str,
        at_s: float,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        delivered_output_tokens: int = 0,
    ) -> bool:
        """Write how an attempt ended. A second end, or the end of an attempt that is not open, is ignored.

        Args:
            status: completed, failed or cancelled.
            input_tokens, output_tokens, cached_input_tokens: the backend's usage; None where it did not say.
            delivered_output_tokens: tokens that the client certainly got: the lower bound when there is no usage.

        Returns:
            Whether a record was written.
        """
        if attempt_id not in self._open:
            return False
        self._open.discard(attempt_id)
        self._write(
            Closed(
                *(self.run, attempt_id, status, at_s),
                *(input_tokens, output_tokens, cached_input_tokens, delivered_output_tokens),
            )
        )
        return True

    @property
    def open_attempts(self) -> int:
        """Attempts opened and not closed by this run."""
        return len(self._open)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be written."""
        return sum(map(len, self._waiting))

    def defer(self, wake: Callable[[], None]) -> None:
        """From now on records wait for `flush`; `wake` is called when the first one does."""
        self._wake = wake

    def flush(self) -> None:
        """Write what waits. Raises OSError: some of it cannot be written now; it waits on."""
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        self._waiting = [data]
        while data:  # nearly always once; the kernel may take less when the disk fills
            data = data[os.write(self._fd, data) :]
            self._waiting = [data] if data else []

    def close(self) -> None:
        """Write what waits and close the file. Attempts that are open stay so; the next start marks them interrupted.

        Raises:
            OSError: some records could not be written, and are lost.
        """
        if self._fd >= 0:
            fd = self._fd
            try:
                self.flush()
            finally:
                self._fd = -1
                os.close(fd)

    def __enter__(self) -> UsageLedger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self, record: Record) -> None:
        waiting, wake = self._waiting, self._wake
        waiting.append(self._encode(record) + b"\n")
        if wake is None:
            self.flush()
        elif len(waiting) == 1:
            wake()


def recover(path: str | PathLike[str]) -> Recovery:
    """Mark what dead writers left open as interrupted, once. Running it again adds nothing.

    Raises:
        ConfigError: the file cannot be written, or a live process writes it.
        TraceError: it is damaged.
    """
    fd = _open_locked(fspath(path))
    try:
        return _repair(fspath(path), fd)
    finally:
        os.close(fd)


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


def _repair(path: str, fd: int) -> Recovery:
    state = LedgerState()
    for _ in read_ledger(path, state):
        pass
    if state.torn and not state.records and not _begins_a_ledger(state.torn):
        raise ConfigError("ledger", [Fault(path, "is not a ledger, and is left as it is; name another file")])
    left_open = tuple(state.open.values())
    records: list[Record] = [
        Interrupted(opened.run, opened.attempt_id, 0, opened.reserved_output_tokens) for opened in left_open
    ]
    if records or state.unrepaired:
        records.insert(0, Recovered(len(left_open)))
    encode = msgspec.json.Encoder().encode
    lines = b"".join(encode(record) + b"\n" for record in records)
    _write_all(fd, (b"" if state.ends_with_newline else b"\n") + lines)
    return Recovery(left_open, tuple(state.torn), state.last_run)


def _begins_a_ledger(torn: list[tuple[int, bytes]]) -> bool:
    """Whether a file without a whole record is a ledger all the same: its writer died over its first line."""
    first = torn[0][1]
    return first.startswith(FIRST_BYTES) or FIRST_BYTES.startswith(first.rstrip(b"\n"))


def _write_all(fd: int, data: bytes) -> None:
    """Nearly always one call; the kernel may take less when the disk fills."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])
