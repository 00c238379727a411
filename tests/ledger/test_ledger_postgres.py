"""The ledger in a real PostgreSQL: killed while it is written, and in the end neither short of a record nor doubled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_histories import FAST, close_one, open_one
from postgres_rig import Server, postgres_server

from headrace.errors import ConfigError
from headrace.fleet import LedgerSettings
from headrace.ledger import UsageLedger
from headrace.ledger.postgres import PostgresFault, PostgresTables, Shipper, database_url
from headrace.ledger.sqlite import SqliteTables
from headrace.ledger.tail import read_on
from headrace.ledger.usage import DIMENSIONS, Usage, UsageRow, usage

psycopg = pytest.importorskip("psycopg", reason="needs the extra headrace[postgres]")
WAIT_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server: Server) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("drop schema if exists headrace cascade")


def in_sqlite(path: Path) -> Usage:
    tables = SqliteTables()
    tables.refresh([path])
    return rounded(usage(tables, DIMENSIONS))


def in_postgres(server: Server) -> Usage:
    tables = PostgresTables(server.url)
    try:
        return rounded(usage(tables, DIMENSIONS))
    finally:
        tables.close()


def rounded(answer: Usage) -> Usage:
    """Floats to ten digits: databases add them up in an order of their own."""

    def row(one: UsageRow) -> UsageRow:
        low, high = (None if usd is None else round(usd, 10) for usd in (one.usd_low, one.usd_high))
        return replace(one, usd_low=low, usd_high=high)

    return replace(answer, rows=tuple(map(row, answer.rows)), total=row(answer.total))


def write(path: Path, attempts: int) -> None:
    with UsageLedger(path, LedgerSettings(rotate_bytes=40_000)) as ledger:
        ledger.agree([FAST])
        for number in range(attempts):
            open_one(ledger, number, None if number % 7 == 0 else 500)
            if number % 3:
                close_one(ledger, number)
            elif number % 50:
                ledger.closed(number, "cancelled", 3.0, delivered_output_tokens=number)
            ledger.maintain()


def test_both_databases_answer_alike(server: Server, tmp_path: Path) -> None:
    write(tmp_path / "ledger", 100)
    tables = PostgresTables(server.url)
    read_on(tables, tmp_path / "ledger", most=17)
    assert read_on(tables, tmp_path / "ledger") == 0
    assert rounded(usage(tables, DIMENSIONS)) == in_sqlite(tmp_path / "ledger")
    days = ("day",)
    assert usage(tables, days, since_unix_s=1.0, until_unix_s=time.time() + 9).total.attempts == 100
    tables.close()


def until(condition: Callable[[], bool], shipper: Shipper) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, shipper.last_fault
        time.sleep(0.005)


def lag_bytes(shipper: Shipper) -> float:
    return {metric.name: metric.value for metric in shipper.metrics()}["headrace_ledger_postgres_lag_bytes"]


def test_a_server_that_is_killed_while_it_is_written_loses_nothing_and_doubles_nothing(
    server: Server, tmp_path: Path
) -> None:
    path, told = tmp_path / "ledger", []
    write(path, 10)
    shipper = Shipper(path, server.url, told.append, interval_s=0.002)
    for _ in range(3):
        write(path, 1500)
        before = lag_bytes(shipper)
        until(lambda full=before: lag_bytes(shipper) < 0.6 * full, shipper)  # somewhere in the middle of it
        server.kill()
        faults = shipper.faults
        write(path, 50)  # traffic does not care
        until(lambda seen=faults: shipper.faults > seen, shipper)
        assert lag_bytes(shipper) > 0
        server.start()
    until(lambda: lag_bytes(shipper) == 0 and not shipper.last_fault, shipper)
    shipper.close()
    assert told
    assert in_postgres(server) == in_sqlite(path)
    assert in_postgres(server).total.attempts == 10 + 3 * 1550


def test_what_was_written_last_is_shipped_before_a_stop(server: Server, tmp_path: Path) -> None:
    shipper = Shipper(tmp_path / "ledger", server.url, lambda _: None, interval_s=3600.0)
    write(tmp_path / "ledger", 20)
    shipper.close(WAIT_S)
    assert in_postgres(server) == in_sqlite(tmp_path / "ledger")


def test_two_shippers_of_one_ledger_do_no_harm(server: Server, tmp_path: Path) -> None:
    write(tmp_path / "ledger", 300)
    shippers = [Shipper(tmp_path / "ledger", server.url, lambda _: None, interval_s=0.001) for _ in range(2)]
    for shipper in shippers:
        until(lambda one=shipper: lag_bytes(one) == 0, shipper)
        shipper.close()
    assert in_postgres(server) == in_sqlite(tmp_path / "ledger")


def test_a_database_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    with pytest.raises(PostgresFault, match="postgres: "):
        PostgresTables(f"postgresql://nobody@/none?host={tmp_path}")


def test_a_password_is_in_the_environment_or_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("postgresql://a:b@c/d\n")
    monkeypatch.setenv("BOOKS_URL", "postgresql://e:f@g/h")
    assert database_url(f"file:{tmp_path}/url") == "postgresql://a:b@c/d"
    assert database_url("env:BOOKS_URL") == "postgresql://e:f@g/h"
    assert database_url("postgresql://a@c/d") == "postgresql://a@c/d"
    for said, fault in (
        ("postgresql://a:b@c/d", "a password there is seen"),
        ("env:NO_SUCH_URL", "the environment variable NO_SUCH_URL is not set"),
        (f"file:{tmp_path}/none", "cannot be read: No such file"),
    ):
        with pytest.raises(ConfigError, match=fault):
            database_url(said)
