"""A ledger's tables in SQLite: a file beside it, or memory. What is new in the log is read at each `refresh`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from os import PathLike, fspath
from pathlib import Path

from headrace.errors import ConfigError, Fault
from headrace.ledger.tables import MARK, SET_MARK, TABLES, VIEW, Batch, Row
from headrace.ledger.tail import Mark, read_on

MEMORY = ":memory:"
BATCH_RECORDS = 20_000
_VIEW = VIEW.format(create="create view", day="date(opened_unix_s, 'unixepoch')")


def database_beside(ledger: Path) -> Path:
    """Where a ledger's tables are: in its directory, or beside the one file that it is."""
    return ledger / "usage.sqlite" if ledger.is_dir() else ledger.with_suffix(".sqlite")


class SqliteTables:
    """The tables of some ledgers.

    Raises:
        ConfigError: the database cannot be written, or is none.
    """

    def __init__(self, path: str | PathLike[str] = MEMORY) -> None:
        self.path = fspath(path)
        try:
            self._connection = sqlite3.connect(self.path, isolation_level=None, timeout=30.0)
            self._connection.execute("pragma synchronous = off")  # what is lost is read again from the log
            self._connection.executescript(f"begin immediate; {TABLES} drop view if exists usage; {_VIEW} commit;")
        except sqlite3.Error as fault:
            message = f"cannot be used as a database: {fault}; name another one with --database"
            raise ConfigError("usage", [Fault(self.path, message)]) from fault

    def refresh(self, ledgers: Iterable[str | PathLike[str]]) -> int:
        """Read what is new in these ledgers; the bytes of it. Raises TraceError: see `read_on`."""
        return sum(read_on(self, ledger, most=BATCH_RECORDS) for ledger in ledgers)

    def mark(self, head: str) -> Row | None:
        """See `tail.Tables`."""
        found: Row | None = self._connection.execute(MARK, (head,)).fetchone()
        return found

    def take(self, batch: Batch, head: str, path: str, mark: Mark) -> None:
        """See `tail.Tables`."""
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("begin immediate")
            try:
                for statement, rows in batch.statements():
                    cursor.executemany(statement, rows)
                cursor.execute(SET_MARK, (head, path, *mark.row()))
            except BaseException:
                cursor.execute("rollback")
                raise
            cursor.execute("commit")

    def query(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of a query."""
        found: list[Row] = self._connection.execute(statement, tuple(values)).fetchall()
        return found

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
