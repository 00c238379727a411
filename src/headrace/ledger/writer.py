"""Writing a ledger: what every attempt used, so that a bill can be checked and a crash loses nothing.

An attempt is written twice, when it is dispatched (`opened`) and when it ends (`closed`), to a file opened for
appending: once `write` returns, the bytes are the kernel's, and `kill -9` cannot take them back. (A power cut can:
`durable` says when they reach the disk.) A busy driver writes the records of one round together: it asks to be woken
when the first one waits (`defer`), and calls `flush` before any byte of that round leaves. So what was sent is in the
file.

A record that cannot be written (the disk is full) waits in memory for the next `flush`; one that was cut goes on where
it was cut, since one process writes a file at a time, which a lock on it sees to. At the next start every attempt that
is still open gets one `interrupted` record with the interval that holds its true count; a file that is repaired already
is left as it is.

A ledger in a directory (`files`) goes on in a new file when the one it writes is large, or of yesterday. The new one
repeats at its head what is still in force: the run, its terms and the attempts that are open. So a start reads the last
file alone, and earlier ones may be moved away.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike

import msgspec

from headrace.errors import ConfigError, Fault, InvariantError
from headrace.fleet import Fsync, LedgerSettings
from headrace.ledger.durable import Durability
from headrace.ledger.files import next_file, open_last, put_in_place, sync_directory, write_all
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
    Terms,
)
from headrace.units import SECONDS_PER_DAY

FIRST_BYTES = b'{"kind":"run"'
WRITER = "gateway"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a start found: attempts that earlier runs left open (now interrupted), and torn lines with their numbers."""

    interrupted: tuple[Opened, ...]
    torn: tuple[tuple[int, bytes], ...]
    last_run: int


class UsageLedger:
    """The ledger of one run. Opening it recovers what earlier runs left behind (see `recovered`).

    Args:
        path: a file, or a directory in which this writer has files of its own.
        settings: see there.
        writer: whose files of a directory these are; None: the only one. A name makes `path` a directory.
        started_unix_s: wall time of the driver's second 0; None: now.
        run_id: names this run among all; None: drawn at random.

    Raises:
        ConfigError: the file cannot be written, or another process writes it.
        TraceError: it is damaged.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        settings: LedgerSettings | None = None,
        *,
        writer: str | None = None,
        started_unix_s: float | None = None,
        run_id: str | None = None,
    ) -> None:
        self.settings = settings or LedgerSettings()
        self.run_id = os.urandom(8).hex() if run_id is None else run_id
        self._encode = msgspec.json.Encoder().encode
        self._open: dict[int, bytes] = {}
        self._terms: list[Terms] = []
        self._terms_of: dict[str, int] = {}
        self._waiting: list[bytes] = []  # lines without their ends
        self._rest = b""  # what of the last flush could not be written
        self._wake: Callable[[], None] | None = None
        in_directory = self.settings.rotates or writer is not None
        self.path, self._fd = open_last(path, writer or WRITER, in_directory=in_directory)
        try:
            self._day = _day_of(self._fd)
            self.recovered = _repair(self.path, self._fd)
            self.run = self.recovered.last_run + 1
            self._started_unix_s = time.time() if started_unix_s is None else started_unix_s
            write_all(self._fd, self._encode(RunStarted(self.run, self._started_unix_s, self.run_id)) + b"\n")
            if self.settings.fsync is not Fsync.NEVER:
                os.fsync(self._fd)
                sync_directory(self.path)
        except BaseException:
            os.close(self._fd)
            raise
        self._durable = Durability(self.settings.fsync, self.settings.fsync_interval_s, self._fd)
        self._settles = self.settings.fsync is Fsync.ALWAYS
        self._segment, self._begun_bytes, self._head_bytes = 1, 0, 0
        self._before_bytes = os.fstat(self._fd).st_size  # of this file, before `written_bytes`

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
        api: str = "",
        reason: str = "first",
        tenant: str = "default",
        key: str = "",
    ) -> None:
        """Write that an attempt is dispatched; call it before its first byte is sent.

        Args:
            attempt_id: unique within this run.
            at_s: seconds since the driver's start.
            input_tokens: as estimated.
            reserved_output_tokens: the most it may produce; None: no bound.
            api, reason, tenant, key: see `metrics.usage.Opened`.

        Raises:
            InvariantError: this attempt is open already.
            OSError: the record cannot be written now, and nobody defers.
        """
        if attempt_id in self._open:
            raise InvariantError(f"ledger: attempt {attempt_id} of run {self.run} was opened twice")
        record = Opened(
            self.run,
            attempt_id,
            request_id,
            backend,
            workload_class,
            at_s,
            input_tokens,
            reserved_output_tokens,
            self._terms_of.get(backend),
            api,
            reason,
            tenant,
            key,
        )
        self._open[attempt_id] = line = self._encode(record)
        self._write(line)

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
        if self._open.pop(attempt_id, None) is None:
            return False
        record = Closed(
            self.run,
            attempt_id,
            status,
            at_s,
            input_tokens,
            output_tokens,
            cached_input_tokens,
            delivered_output_tokens,
        )
        self._write(self._encode(record))
        return True

    def agree(self, terms: Iterable[Terms]) -> None:
        """Attempts on these backends are on these terms from now on; their `run` and `number` are set here."""
        for each in terms:
            numbered = msgspec.structs.replace(each, run=self.run, number=len(self._terms) + 1)
            self._terms.append(numbered)
            self._terms_of[each.backend] = numbered.number
            self._write(self._encode(numbered))

    @property
    def open_attempts(self) -> int:
        """Attempts opened and not closed by this run."""
        return len(self._open)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be written."""
        return len(self._rest) + sum(map(len, self._waiting)) + len(self._waiting)

    @property
    def unsynced_bytes(self) -> int:
        """Bytes of this run that were written and not forced to the disk."""
        return self._durable.unsynced_bytes

    def defer(self, wake: Callable[[], None]) -> None:
        """From now on records wait for `flush`; `wake` is called when the first one does."""
        self._wake = wake

    def flush(self) -> None:
        """Write what waits. Raises OSError: some of it cannot be written now; it waits on."""
        waiting, rest = self._waiting, self._rest
        if waiting:
            waiting.append(b"")
            self._rest = rest = rest + b"\n".join(waiting)
            waiting.clear()
        while rest:  # nearly always once; the kernel may take less when the disk fills
            taken = os.write(self._fd, rest)
            self._durable.written_bytes += taken
            self._rest = rest = rest[taken:]
        if self._settles:
            self._durable.settle()

    def maintain(self) -> None:
        """What is to be done about once a second: go on in a new file where the settings say so.

        Raises:
            OSError: it could not be made, or what was written could not be forced to the disk.
        """
        if self._is_due():
            self._rotate()
        fault = self._durable.fault()
        if fault is not None:
            raise fault

    def close(self) -> None:
        """Write what waits and close the file. Attempts that are open stay so; the next start marks them interrupted.

        Raises:
            OSError: some records could not be written, and are lost.
        """
        if self._fd >= 0:
            try:
                self.flush()
            finally:
                self._fd = -1
                self._durable.close()

    def __enter__(self) -> UsageLedger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        waiting, wake = self._waiting, self._wake
        waiting.append(line)
        if wake is None:
            self.flush()
        elif len(waiting) == 1:
            wake()

    def _is_due(self) -> bool:
        """Whether this file is to be followed by another one: not while most of it is its head."""
        settings, written = self.settings, self._durable.written_bytes - self._begun_bytes
        if written == 0 or not settings.rotates:
            return False
        if settings.rotate_daily and _today() != self._day:
            return True
        large = settings.rotate_bytes is not None and self._before_bytes + written >= settings.rotate_bytes
        return large and written >= self._head_bytes

    def _rotate(self) -> None:
        self.flush()  # to the end of a line
        head = RunStarted(self.run, self._started_unix_s, self.run_id, self._segment + 1)
        lines = [self._encode(record) for record in (head, *self._terms)]
        content = b"\n".join([*lines, *self._open.values(), b""])
        path = next_file(self.path)
        self._fd = put_in_place(path, content, sync=self.settings.fsync is not Fsync.NEVER)
        self.path, self._segment, self._day = path, self._segment + 1, _today()
        self._before_bytes = self._head_bytes = len(content)
        self._begun_bytes = self._durable.written_bytes
        self._durable.follow(self._fd)


def recover(path: str | PathLike[str], writer: str = WRITER) -> Recovery:
    """Mark what dead writers left open as interrupted, once. Running it again adds nothing.

    Raises:
        ConfigError: the file cannot be written, or a live process writes it.
        TraceError: it is damaged.
    """
    last, fd = open_last(path, writer, in_directory=False)
    try:
        return _repair(last, fd)
    finally:
        os.close(fd)


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
    write_all(fd, (b"" if state.ends_with_newline else b"\n") + lines)
    return Recovery(left_open, tuple(state.torn), state.last_run)


def _begins_a_ledger(torn: list[tuple[int, bytes]]) -> bool:
    """Whether a file without a whole record is a ledger all the same: its writer died over its first line."""
    first = torn[0][1]
    return first.startswith(FIRST_BYTES) or FIRST_BYTES.startswith(first.rstrip(b"\n"))


def _today() -> int:
    return int(time.time() // SECONDS_PER_DAY)


def _day_of(fd: int) -> int:
    """When a file was written last; an empty one: today."""
    found = os.fstat(fd)
    return int(found.st_mtime // SECONDS_PER_DAY) if found.st_size else _today()
