from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import unittest.mock
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_histories import close_one, open_one

from headrace.errors import ConfigError, InvariantError, TraceError
from headrace.ledger import AttemptStatus, LedgerState, UsageLedger, ledger_totals, read_ledger, recover


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.jsonl"


def test_a_closed_attempt_equals_what_the_backend_said(path: Path) -> None:
    with UsageLedger(path) as ledger:
        open_one(ledger, 1)
        assert close_one(ledger, 1)
    (entry,) = read_ledger(path)
    assert (entry.status, entry.run, entry.attempt_id, entry.request_id) == ("completed", 1, 1, 1001)
    assert (entry.backend, entry.workload_class, entry.at_s, entry.ended_s) == ("fäst-0", "coding", 1.5, 2.5)
    assert (entry.input_tokens, entry.output_low, entry.output_high, entry.cached_input_tokens) == (100, 40, 40, 8)


def test_an_attempt_without_usage_carries_its_interval(path: Path) -> None:
    with UsageLedger(path) as ledger:
        open_one(ledger, 1)
        ledger.closed(1, "cancelled", 2.0, delivered_output_tokens=7)
        open_one(ledger, 2, reserved=None)
        ledger.closed(2, "failed", 2.0)
    cancelled, failed = read_ledger(path)
    assert (cancelled.output_low, cancelled.output_high, cancelled.usage) == (7, 500, False)
    assert (failed.output_low, failed.output_high, failed.input_tokens) == (0, None, 90)
    totals = ledger_totals(path)["fäst-0", "coding"]
    assert (totals.attempts, totals.uncertain, totals.uncertain_low, totals.uncertain_high) == (2, 2, 7, None)


def test_a_record_is_in_the_file_when_the_call_returns(path: Path) -> None:
    ledger = UsageLedger(path)
    open_one(ledger, 1)
    assert [entry.status for entry in read_ledger(path)] == [AttemptStatus.OPEN]
    ledger.close()


def test_a_second_end_and_the_end_of_a_stranger_are_ignored(path: Path) -> None:
    with UsageLedger(path) as ledger:
        open_one(ledger, 1)
        assert close_one(ledger, 1)
        size = path.stat().st_size
        assert not close_one(ledger, 1)
        assert not close_one(ledger, 99)
        assert path.stat().st_size == size
        assert ledger.open_attempts == 0


def test_the_reader_keeps_the_first_of_two_ends(path: Path) -> None:
    with UsageLedger(path) as ledger:
        open_one(ledger, 1)
        close_one(ledger, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[-1]]))
    assert ledger_totals(path)["fäst-0", "coding"].output_tokens == 40


def test_opening_an_open_attempt_is_a_bug(path: Path) -> None:
    with UsageLedger(path) as ledger:
        open_one(ledger, 1)
        with pytest.raises(InvariantError, match="attempt 1 of run 1 was opened twice"):
            open_one(ledger, 1)


def test_attempt_ids_never_clash_across_starts(path: Path) -> None:
    for _ in range(3):
        with UsageLedger(path) as ledger:
            open_one(ledger, 1)
            close_one(ledger, 1)
    assert [(entry.run, entry.attempt_id) for entry in read_ledger(path)] == [(1, 1), (2, 1), (3, 1)]


def test_a_start_interrupts_what_the_last_run_left_open_once(path: Path) -> None:
    with UsageLedger(path) as ledger:
        open_one(ledger, 1)
        open_one(ledger, 2)
        close_one(ledger, 1)
    with UsageLedger(path) as ledger:
        assert [opened.attempt_id for opened in ledger.recovered.interrupted] == [2]
    with UsageLedger(path) as ledger:
        assert ledger.recovered.interrupted == ()
    entries = list(read_ledger(path))
    assert [entry.status for entry in entries] == [AttemptStatus.COMPLETED, AttemptStatus.INTERRUPTED]
    assert (entries[1].output_low, entries[1].output_high) == (0, 500)


def test_two_writers_of_one_file_are_refused(path: Path) -> None:
    with UsageLedger(path), pytest.raises(ConfigError, match="another process writes this ledger"):
        UsageLedger(path)
    UsageLedger(path).close()


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent/usage\.jsonl: cannot be written: No such file"):
        UsageLedger(tmp_path / "absent" / "usage.jsonl")


def test_damage_in_the_middle_is_an_error_with_its_line(path: Path) -> None:
    with UsageLedger(path) as ledger:
        open_one(ledger, 1)
        close_one(ledger, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"kind":"ope\n' + lines[2])
    with pytest.raises(TraceError, match="this line of the ledger is damaged") as caught:
        list(read_ledger(path))
    assert caught.value.line == 2


def test_a_write_that_fails_half_way_waits_and_goes_on_where_it_was_cut(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = UsageLedger(path)
    write = os.write

    def full_disk(fd: int, data: bytes) -> int:
        if len(data) > 20:
            return write(fd, data[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_disk)
        with pytest.raises(OSError, match="No space left"):
            ledger.opened(1, 1, "b", "c", 0.0, input_tokens=1, reserved_output_tokens=1)
        assert 0 < ledger.waiting_bytes <= 20
    open_one(ledger, 2)
    close_one(ledger, 2)
    ledger.close()
    state = LedgerState()
    assert [(e.attempt_id, e.status) for e in read_ledger(path, state)] == [(2, "completed"), (1, "open")]
    assert not state.torn


@given(st.lists(st.integers(0, 400), max_size=60), st.sets(st.integers(0, 11)))
def test_deferred_records_are_those_written_at_once_whatever_the_disk_takes(
    taken: list[int], flushed: set[int]
) -> None:
    with TemporaryDirectory() as folder:
        at_once, deferred = Path(folder) / "at_once", Path(folder) / "deferred"
        wakes: list[None] = []
        with same_run(at_once) as plain, same_run(deferred) as lazy:
            size = deferred.stat().st_size
            lazy.defer(lambda: wakes.append(None))
            for attempt_id in range(6):
                for n, act in ((2 * attempt_id, open_one), (2 * attempt_id + 1, close_one)):
                    act(plain, attempt_id)
                    act(lazy, attempt_id)
                    if n in flushed:
                        flush_through(lazy, taken)
            if not flushed:
                assert deferred.stat().st_size == size, "nothing is written before the flush"
                assert len(wakes) == 1, "one wake for all that wait"
        assert deferred.read_bytes() == at_once.read_bytes()


def same_run(path: Path) -> UsageLedger:
    return UsageLedger(path, started_unix_s=0.0, run_id="r")


def flush_through(ledger: UsageLedger, taken: list[int]) -> None:
    """Flush to a disk that takes these many bytes a call; 0: it is full."""
    write = os.write

    def small(fd: int, data: bytes) -> int:
        most = taken.pop() if taken else len(data)
        if most == 0:
            raise OSError(28, "No space left on device")
        return write(fd, data[:most])

    with unittest.mock.patch.object(os, "write", small), contextlib.suppress(OSError):
        ledger.flush()


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"{}", b"\x00" * 50])
def test_a_file_that_is_no_ledger_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not a ledger"):
        UsageLedger(path)
    assert path.read_bytes() == content


def test_a_device_is_no_ledger() -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        UsageLedger("/dev/null")


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["open", "close", "cancel", "restart"]), st.integers(0, 5)), max_size=14
)


def write_history(path: Path, operations: list[tuple[str, int]]) -> None:
    """Runs that open and end attempts; ids start again with every run, and nothing is closed twice."""
    ledger = UsageLedger(path, started_unix_s=0.0)
    opened: set[int] = set()
    for action, attempt_id in operations:
        if action == "restart":
            ledger.close()
            ledger = UsageLedger(path, started_unix_s=0.0)
            opened = set()
        elif action == "open" and attempt_id not in opened:
            opened.add(attempt_id)
            open_one(ledger, attempt_id)
        elif action == "close":
            close_one(ledger, attempt_id)
        elif action == "cancel":
            ledger.closed(attempt_id, "cancelled", 3.0, delivered_output_tokens=2)
    ledger.close()


@settings(max_examples=60, deadline=None)
@given(OPERATIONS, st.floats(0, 1), st.floats(0, 1))
def test_a_file_cut_at_any_byte_recovers_and_counts_every_attempt_once(
    operations: list[tuple[str, int]], first_cut: float, second_cut: float
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "usage.jsonl"
        write_history(path, operations)
        whole = path.read_bytes()
        prefix = whole[: int(first_cut * len(whole))]
        path.write_bytes(prefix)
        opened = prefix_openings(prefix)
        recover(path)
        repaired = path.read_bytes()
        assert repaired.startswith(prefix)  # nothing that was written is lost
        # The recovery itself is killed too, at any byte.
        path.write_bytes(repaired[: len(prefix) + int(second_cut * (len(repaired) - len(prefix)))])
        recover(path)
        assert_every_attempt_ended_once(path, opened)
        before = path.read_bytes()
        assert recover(path).interrupted == ()
        assert path.read_bytes() == before


def prefix_openings(prefix: bytes) -> int:
    """Openings whose line is complete, with or without its end."""
    return sum(line.startswith(b'{"kind":"opened"') and line.endswith(b"}") for line in prefix.split(b"\n"))


def assert_every_attempt_ended_once(path: Path, opened: int) -> None:
    entries = list(read_ledger(path))
    counts = Counter((entry.run, entry.attempt_id) for entry in entries)
    assert len(entries) == opened
    assert set(counts.values()) <= {1}
    assert all(entry.status is not AttemptStatus.OPEN for entry in entries)
    totals = ledger_totals(path)
    assert sum(total.attempts for total in totals.values()) == opened
    completed = sum(entry.status is AttemptStatus.COMPLETED for entry in entries)
    assert sum(total.output_tokens for total in totals.values()) == 40 * completed


def test_kill_9_loses_no_write_already_made(path: Path) -> None:
    script = (
        "import sys; from headrace.ledger import UsageLedger\n"
        "ledger = UsageLedger(sys.argv[1])\n"
        "for i in range(50):\n"
        "    ledger.opened(i, i, 'b', 'c', 0.0, input_tokens=1, reserved_output_tokens=9)\n"
        "    if i % 2: ledger.closed(i, 'completed', 1.0, output_tokens=3)\n"
        "print('written', flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"written\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert len(recover(path).interrupted) == 25
    totals = ledger_totals(path)["b", "c"]
    assert (totals.attempts, totals.output_tokens, totals.uncertain_low, totals.uncertain_high) == (50, 75, 0, 225)
