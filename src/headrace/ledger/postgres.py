"""A ledger's tables in PostgreSQL, and the thread that keeps them up to date.

The log is the truth, and the database may come and go: the shipper reads the log, not the gateway's memory, so a dead
database costs the traffic nothing and loses nothing. It has the mark of each file in the database itself, written in
the same transaction as the rows: what was committed is never sent again, and what was not is.

Where a ledger is written by several workers, one shipper for the directory is enough; two do no harm.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from headrace.errors import ConfigError, Fault, HeadraceError
from headrace.ledger.tables import ENDED, MARK, OPENED, RUN, SET_MARK, TABLES, TERMS, VIEW, Batch, Row
from headrace.ledger.tail import Mark, read_on, unread_bytes
from headrace.metrics import Metric

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

SCHEMA = "headrace"
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000  # a database that does not answer is as good as none
LOCK = 0x6865_6164  # of the transaction that makes the tables: two gateways may start at once
BATCH_RECORDS = 500  # small: what a thread takes of the interpreter, requests wait for
INTERVAL_S = 1.0
LONGEST_WAIT_S = 30.0
_TYPES = {
    RUN: ("text", "float8"),
    TERMS: ("text", "int", "text", "text", "text", "float8", "float8", "float8"),
    OPENED: ("text", "bigint", "bigint", *["text"] * 5, "int", "float8", "bigint", "bigint"),
    ENDED: ("text", "bigint", "text", "float8", *["bigint"] * 4),
}
_DAY = "to_char(to_timestamp(opened_unix_s) at time zone 'UTC', 'YYYY-MM-DD')"
_VIEW = VIEW.format(create="create or replace view", day=_DAY)


def database_url(said: str) -> str:
    """The URL that `env:NAME`, `file:PATH` or a URL without a password stands for.

    Raises:
        ConfigError: it is not there, or a password is on display.
    """
    kind, _, where = said.partition(":")
    if kind == "env":
        return _present(said, os.environ.get(where), f"the environment variable {where} is not set")
    if kind == "file":
        try:
            return _present(said, Path(where).read_text().strip(), "the file is empty")
        except OSError as fault:
            raise ConfigError("postgres", [Fault(said, f"cannot be read: {fault.strerror}")]) from fault
    user, at, _ = said.partition("://")[2].partition("@")
    if at and ":" in user:
        message = "a password there is seen by whoever lists processes; use env:NAME or file:PATH"
        raise ConfigError("postgres", [Fault("the URL", message)])
    return said


def _present(said: str, url: str | None, message: str) -> str:
    if not url:
        raise ConfigError(
            "postgres", [Fault(said, f"{message}; put a URL there, postgresql://user:password@host/name")]
        )
    return url


def reach(url: str) -> None:
    """Ask whether the database is there, and nothing else.

    Raises:
        ConfigError: psycopg is not installed, or the database cannot be reached, or refuses.
    """
    psycopg = _driver()
    try:
        psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S, application_name="headrace").close()
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise ConfigError("postgres", [Fault("ledger.postgres", f"{said}; start it, or mend its URL")]) from error


class PostgresTables:
    """The tables in schema `headrace` of a database.

    Raises:
        ConfigError: psycopg is not installed.
        PostgresFault: the database cannot be reached, or refuses.
    """

    def __init__(self, url: str) -> None:
        psycopg = _driver()
        self._error = psycopg.Error
        with self._named():
            options = f"-c search_path={SCHEMA} -c statement_timeout={STATEMENT_TIMEOUT_MS}"
            self._connection: Connection = psycopg.connect(
                url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, options=options, application_name="headrace"
            )
        with self._transaction() as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            cursor.execute(f"create schema if not exists {SCHEMA}; {TABLES} {_VIEW}".encode())

    def mark(self, head: str) -> Row | None:
        """See `tail.Tables`."""
        with self._named():
            found: Row | None = self._connection.execute(_own(MARK), (head,)).fetchone()
            return found

    def take(self, batch: Batch, head: str, path: str, mark: Mark) -> None:
        """See `tail.Tables`."""
        with self._transaction() as cursor:
            for statement, rows in batch.statements():
                cursor.execute(*_at_once(statement, rows))
            cursor.execute(_own(SET_MARK), (head, path, *mark.row()))

    def query(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of a query."""
        with self._named():
            found: list[Row] = self._connection.execute(_own(statement), values).fetchall()
            return found

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        with self._named(), self._connection.transaction(), self._connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except self._error as fault:
            raise PostgresFault(f"postgres: {' '.join(str(fault).split())}") from fault


def _driver() -> ModuleType:
    try:
        return import_module("psycopg")
    except ImportError as fault:
        message = "needs psycopg; install it with: pip install 'headrace[postgres]'"
        raise ConfigError("postgres", [Fault("the database", message)]) from fault


class PostgresFault(HeadraceError):
    """The database cannot be reached, or refuses."""


def _at_once(statement: str, rows: list[Row]) -> tuple[bytes, list[list[object]]]:
    """A statement for many rows, as one with a column of values each: one answer to wait for.

    A statement may touch a row once; of several with the same key the first holds, as it does one by one.
    """
    first = {row[:2]: row for row in reversed(rows)}
    columns = [list(column) for column in zip(*first.values(), strict=True)]
    arrays = ", ".join(f"%s::{kind}[]" for kind in _TYPES[statement])
    begin, _, end = statement.partition("values (")
    return f"{begin} select * from unnest({arrays}) {end.partition(')')[2]}".encode(), columns


def _own(statement: str) -> bytes:
    """A statement with this driver's place holders."""
    return statement.replace("?", "%s").encode()


class Shipper:
    """A thread that ships a ledger to a database, for as long as it takes.

    Args:
        path: a file, or a directory of files.
        url: of the database.
        tell: is given what the operator should know.
        interval_s: between two looks at the log; after a fault twice as long each time, up to `LONGEST_WAIT_S`.

    Attributes:
        faults: tries that failed.
        last_fault: what was wrong; empty: nothing, now.

    Raises:
        ConfigError: psycopg is not installed.
    """

    def __init__(
        self, path: str | PathLike[str], url: str, tell: Callable[[str], None], interval_s: float = INTERVAL_S
    ) -> None:
        _driver()  # a missing one is told now, not by the thread
        self.faults = 0
        self._tell = tell
        self.last_fault = ""
        self._path = path
        self._url = url
        self._interval_s = interval_s
        self._reached: dict[str, int] = {}
        self._complete_s = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-postgres", daemon=True)
        self._thread.start()

    def metrics(self) -> Iterator[Metric]:
        """How far behind the database is."""
        text = "Bytes of usage ledger that PostgreSQL does not have yet."
        yield Metric("headrace_ledger_postgres_lag_bytes", "gauge", text, unread_bytes(self._path, self._reached))
        text = "Time since PostgreSQL had all of the usage ledger."
        yield Metric("headrace_ledger_postgres_lag_seconds", "gauge", text, time.monotonic() - self._complete_s)
        text = "Failed tries to ship the usage ledger to PostgreSQL; each is made again."
        yield Metric("headrace_ledger_postgres_faults_total", "counter", text, self.faults)

    def close(self, wait_s: float = CONNECT_TIMEOUT_S) -> None:
        """Ship what is there once more, if the database is, and stop; what is not shipped, the next start does."""
        self._stopped.set()
        self._thread.join(wait_s)

    def _run(self) -> None:
        tables: PostgresTables | None = None
        wait_s, last, said = self._interval_s, False, ""
        while not last:
            last = self._stopped.wait(wait_s)
            try:
                tables = tables or PostgresTables(self._url)
                self._ship(tables)
                wait_s, said, self.last_fault = self._interval_s, "", ""
            except Exception as fault:  # whatever it is, the traffic goes on, and so does the log
                self.faults += 1
                self.last_fault = str(fault)
                wait_s = min(2.0 * wait_s, LONGEST_WAIT_S)
                if self.last_fault != said:
                    said = self.last_fault
                    self._tell(f"the usage ledger does not reach its database: {said}; it is tried again")
                if tables is not None:
                    tables.close()
                    tables = None
        if tables is not None:
            tables.close()

    def _ship(self, tables: PostgresTables) -> None:
        begun_s = time.monotonic()
        read_on(tables, self._path, most=BATCH_RECORDS, reached=self._reached)
        self._complete_s = begun_s
