"""The tables say what one reading of the log says, whatever is imported, in pieces, copies and any order."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_histories import FAST, close_one, open_one

from headrace.errors import ConfigError, TraceError
from headrace.fleet import LedgerSettings
from headrace.ledger import Entry, UsageLedger, ledger_files, read_ledger, recover
from headrace.ledger.sqlite import MEMORY, SqliteTables, database_beside
from headrace.ledger.tail import read_on, unread_bytes
from headrace.ledger.usage import DIMENSIONS, UsageRow, usage

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["open", "unbounded", "close", "cancel", "restart", "rotate"]), st.integers(0, 5)),
    max_size=25,
)
Numbers = tuple[int, int, int, int, int, int, int | None, float | None, float | None]


def write_history(path: Path, operations: list[tuple[str, int]], writer: str) -> None:
    """Runs of one writer, some of whose attempts are on terms."""
    small = LedgerSettings(rotate_bytes=1)
    ledger, opened = UsageLedger(path, small, writer=writer, started_unix_s=1.7e9), set()
    for action, number in operations:
        if action == "restart":
            ledger.close()
            ledger, opened = UsageLedger(path, small, writer=writer, started_unix_s=1.7e9), set()
            ledger.agree([FAST] if number % 2 else [])
        elif action in ("open", "unbounded") and number not in opened:
            opened.add(number)
            open_one(ledger, number, 500 if action == "open" else None)
        elif action == "close":
            close_one(ledger, number)
        elif action == "cancel":
            ledger.closed(number, "cancelled", 3.0, delivered_output_tokens=2 * number)
        elif action == "rotate":
            ledger.maintain()
    ledger.close()


def numbers_of(entries: Iterable[Entry]) -> dict[tuple[str, str], Numbers]:
    """By pool and status, from the log itself."""
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups["" if entry.terms is None else entry.terms.pool, str(entry.status)].append(entry)
    return {key: numbers(group) for key, group in groups.items()}


def numbers(entries: list[Entry]) -> Numbers:
    usd = [entry.usd or (None, None) for entry in entries]
    requests = {(entry.run_id, entry.request_id) for entry in entries}
    return (
        *(len(entries), len(requests), sum(not e.usage for e in entries)),
        *(sum(e.input_tokens for e in entries), sum(e.cached_input_tokens or 0 for e in entries)),
        *(sum(e.output_low for e in entries), bounded(e.output_high for e in entries)),
        *(bounded(low for low, _ in usd), bounded(high for _, high in usd)),
    )


def bounded(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return pytest.approx(total)


def told(row: UsageRow) -> Numbers:
    return (
        *(row.attempts, row.requests, row.uncertain, row.input_tokens, row.cached_input_tokens),
        *(row.output_low, row.output_high, row.usd_low, row.usd_high),
    )


def assert_equal_to_the_log(tables: SqliteTables, path: Path) -> None:
    entries, found = list(read_ledger(path)), usage(tables, ("pool", "status"))
    assert {row.group: told(row) for row in found.rows} == numbers_of(entries)
    assert told(found.total) == numbers(entries)


@settings(max_examples=60, deadline=None)
@given(st.lists(OPERATIONS, min_size=1, max_size=2), st.data())
def test_any_cuts_copies_and_order_of_imports_give_what_the_log_says(
    histories: list[list[tuple[str, int]]], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        ledger, copies = Path(folder) / "ledger", Path(folder) / "copies"
        copies.mkdir()
        for number, operations in enumerate(histories):
            write_history(ledger, operations, f"worker-{number}")
            if data.draw(st.booleans()):
                recover(ledger, f"worker-{number}")
        tables = SqliteTables()
        imports = st.tuples(st.sampled_from(ledger_files(ledger)), st.floats(0, 1), st.booleans())
        for number, (file, cut, repaired) in enumerate(data.draw(st.lists(imports, max_size=8))):
            copy = copies / (f"{number}.jsonl" if number % 2 else Path(file).name)  # another name, or the same grown
            whole = Path(file).read_bytes()
            copy.write_bytes(whole[: int(cut * len(whole))])
            if repaired:  # somebody took the copy for a ledger; what it calls interrupted may have gone on
                recover(copy)
                for writer in range(len(histories)):
                    recover(ledger, f"worker-{writer}")
            read_on(tables, copy, most=data.draw(st.integers(1, 9)))
        for file in data.draw(st.permutations(ledger_files(ledger))):
            read_on(tables, file, most=data.draw(st.integers(1, 9)))
        tables.refresh([ledger])
        assert tables.refresh([ledger]) == 0, "all of it is read"
        assert_equal_to_the_log(tables, ledger)


def test_an_import_goes_on_where_it_was_and_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    tables = SqliteTables(database_beside(path))
    with UsageLedger(path) as ledger:
        open_one(ledger, 1)
        assert tables.refresh([path]) == path.stat().st_size
        close_one(ledger, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert tables.refresh([path]) == 0
    path.write_bytes(whole)
    reached: dict[str, int] = {}
    assert read_on(tables, path, reached=reached) > 0
    assert unread_bytes(path, reached) == 0
    tables.close()
    again = SqliteTables(tmp_path / "l.sqlite")
    assert again.refresh([path]) == 0
    assert_equal_to_the_log(again, path)


def test_a_file_restored_from_a_backup_and_written_further_is_read_anew(tmp_path: Path) -> None:
    path, tables = tmp_path / "l.jsonl", SqliteTables()
    with UsageLedger(path) as ledger:
        open_one(ledger, 1)
        backup = path.read_bytes()
        close_one(ledger, 1)
    tables.refresh([path])
    path.write_bytes(backup)
    with UsageLedger(path) as ledger:
        for number in range(9):
            open_one(ledger, number)
            close_one(ledger, number)
    tables.refresh([path])
    assert usage(tables, ()).total.attempts == 10


def test_a_batch_goes_in_with_its_mark_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    with UsageLedger(path) as ledger:
        for number in range(9):
            open_one(ledger, number)
            close_one(ledger, number)
    tables = SqliteTables(tmp_path / "u.sqlite")
    tables.query("create trigger full before insert on files when new.lines > 8 begin select raise(abort, 'full'); end")
    with pytest.raises(sqlite3.Error, match="full"):
        read_on(tables, path, most=4)
    assert tables.query("select count(*) from attempts where status <> 'open'") == [(3,)]
    tables.query("drop trigger full")
    read_on(tables, path, most=4)
    assert_equal_to_the_log(tables, path)


def test_a_ledger_of_before_there_were_run_ids_is_read_and_its_copy_counts_once(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "ledger-v1.jsonl", tmp_path / "old.jsonl")
    tables = SqliteTables()
    tables.refresh([tmp_path / "old.jsonl", Path(__file__).parent / "ledger-v1.jsonl"])
    entries = list(read_ledger(tmp_path / "old.jsonl"))
    assert [(e.run, e.status, e.input_tokens, e.output_high, e.usd) for e in entries] == [
        (1, "completed", 100, 40, None),
        (1, "interrupted", 90, 500, None),
        (2, "cancelled", 90, 500, None),
    ]
    assert len({e.run_id for e in entries}) == 2
    assert_equal_to_the_log(tables, tmp_path)


def test_what_is_asked_for_is_within_the_time(tmp_path: Path) -> None:
    path, tables = tmp_path / "l.jsonl", SqliteTables()
    for started_unix_s in (86_400.0, 2 * 86_400.0):
        with UsageLedger(path, started_unix_s=started_unix_s) as ledger:
            open_one(ledger, 1)
    tables.refresh([path])
    assert [row.group for row in usage(tables, ("day", "class")).rows] == [
        ("1970-01-02", "coding"),
        ("1970-01-03", "coding"),
    ]
    assert usage(tables, (), since_unix_s=86_401.5).total.attempts == 2
    assert usage(tables, (), since_unix_s=86_401.6).total.attempts == 1
    assert usage(tables, (), until_unix_s=86_401.5).total.attempts == 0
    assert usage(tables, DIMENSIONS).total.attempts == 2
    with pytest.raises(ConfigError, match="nothing is counted by colour; use some of tenant"):
        usage(tables, ("colour",))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    tables = SqliteTables()
    with pytest.raises(TraceError, match=r"none\.jsonl.*no such file"):
        tables.refresh([tmp_path / "none.jsonl"])
    with UsageLedger(tmp_path / "l.jsonl") as ledger:
        open_one(ledger, 1)
        close_one(ledger, 1)
    lines = (tmp_path / "l.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "l.jsonl").write_bytes(lines[0] + b'{"kind":"ope\n' + lines[2])
    with pytest.raises(TraceError, match="damaged") as caught:
        tables.refresh([tmp_path / "l.jsonl"])
    assert caught.value.line == 2
    (tmp_path / "text.sqlite").write_bytes(b"not a database, but a text that is long enough" * 30)
    with pytest.raises(ConfigError, match="cannot be used as a database"):
        SqliteTables(tmp_path / "text.sqlite")
    assert SqliteTables(MEMORY).query("select count(*) from usage") == [(0,)]


def test_the_page_names_every_column_of_the_view_and_its_query_runs(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/ledger.md").read_text()
    tables = SqliteTables()
    columns = [row[1] for row in tables.query("pragma table_info(usage)")]
    assert [name for name in columns if f"`{name}`" not in page] == []
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert tables.query(query) == []
