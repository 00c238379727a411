"""Rotation, directories and the disk: law 3 over many files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_histories import close_one, open_one

from headrace.errors import ConfigError
from headrace.fleet import Fsync, LedgerSettings
from headrace.ledger import AttemptStatus, Terms, UsageLedger, durable, ledger_files, read_ledger, recover
from headrace.units import SECONDS_PER_DAY

SMALL = LedgerSettings(rotate_bytes=1)  # a new file whenever something was written
FAST = Terms(0, 0, "fäst-0", "fast", "m", 1e-6, 1e-7, 5e-6)


def test_an_attempt_that_is_open_at_a_rotation_is_billed_once(tmp_path: Path) -> None:
    with UsageLedger(tmp_path, SMALL) as ledger:
        ledger.agree([FAST])
        open_one(ledger, 1)
        open_one(ledger, 2)
        ledger.maintain()
        close_one(ledger, 1)
        ledger.maintain()
        close_one(ledger, 2)
    assert len(ledger_files(tmp_path)) == 3
    entries = list(read_ledger(tmp_path))
    assert [(e.attempt_id, e.status) for e in entries] == [(1, "completed"), (2, "completed")]
    assert {e.run_id for e in entries} == {ledger.run_id}
    assert entries[0].usd == (pytest.approx(92e-6 + 8e-7 + 200e-6),) * 2


def test_a_file_is_whole_without_those_before_it(tmp_path: Path) -> None:
    with UsageLedger(tmp_path, SMALL) as ledger:
        ledger.agree([FAST])
        open_one(ledger, 1)
        ledger.maintain()
        close_one(ledger, 1)
    (entry,) = read_ledger(ledger_files(tmp_path)[-1])
    assert (entry.status, entry.terms and entry.terms.pool) == ("completed", "fast")


def test_a_quiet_ledger_stays_in_its_file(tmp_path: Path) -> None:
    with UsageLedger(tmp_path, SMALL) as ledger:
        for _ in range(3):
            ledger.maintain()
    assert len(ledger_files(tmp_path)) == 1


def test_a_file_of_yesterday_is_followed_by_one_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with UsageLedger(tmp_path, LedgerSettings(rotate_daily=True)) as ledger:
        open_one(ledger, 1)
        ledger.maintain()
        assert len(ledger_files(tmp_path)) == 1
        tomorrow = time.time() + SECONDS_PER_DAY
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: tomorrow)
            ledger.maintain()
        assert len(ledger_files(tmp_path)) == 2
        close_one(ledger, 1)


def test_the_workers_of_a_directory_are_read_as_one_and_hold_only_their_own_files(tmp_path: Path) -> None:
    with UsageLedger(tmp_path, writer="worker-0") as first, UsageLedger(tmp_path, writer="worker-1") as second:
        for ledger in (first, second):
            open_one(ledger, 1)
        close_one(first, 1)
        with pytest.raises(ConfigError, match="another process writes this ledger"):
            UsageLedger(tmp_path, writer="worker-0")
    entries = list(read_ledger(tmp_path))
    assert {(e.run_id, e.status) for e in entries} == {(first.run_id, "completed"), (second.run_id, "open")}
    with UsageLedger(tmp_path, writer="worker-0"):
        assert Counter(e.status for e in read_ledger(tmp_path)) == {"completed": 1, "open": 1}
    assert len(recover(tmp_path, "worker-1").interrupted) == 1


def test_a_ledger_that_rotates_needs_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a ledger that rotates is a directory; name one, as .*usage"):
        UsageLedger(tmp_path / "usage.jsonl", SMALL)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be made a directory"):
        UsageLedger(tmp_path / "file", SMALL)
    UsageLedger(tmp_path / "new", SMALL).close()
    assert [Path(file).name for file in ledger_files(tmp_path / "new")] == ["gateway.00000001.jsonl"]


def test_a_rotation_that_fails_leaves_the_ledger_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(SMALL, fsync=Fsync.ALWAYS)
    with UsageLedger(tmp_path, settings) as ledger:
        open_one(ledger, 1)
        for name in ("rename", "fsync"):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, fails)
                with pytest.raises(OSError, match="No space left"):
                    ledger.maintain()
            assert len(os.listdir(tmp_path)) == 1
        ledger.maintain()
        close_one(ledger, 1)
    assert [e.status for e in read_ledger(tmp_path)] == ["completed"]


def fails(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("policy", Fsync)
def test_what_the_disk_has_is_what_the_policy_promises(
    tmp_path: Path, policy: Fsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(durable.os, "fdatasync", synced.append)
    with UsageLedger(tmp_path, replace(SMALL, fsync=policy, fsync_interval_s=0.001)) as ledger:
        open_one(ledger, 1)
        assert (ledger.unsynced_bytes == 0) or policy is not Fsync.ALWAYS
        while policy is Fsync.INTERVAL and ledger.unsynced_bytes:
            time.sleep(0.001)
        ledger.maintain()
        close_one(ledger, 1)
    assert bool(synced) == (policy is not Fsync.NEVER)
    assert (ledger.unsynced_bytes > 0) == (policy is Fsync.NEVER)


def test_a_sync_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_thread = UsageLedger(tmp_path / "l", LedgerSettings(fsync=Fsync.INTERVAL, fsync_interval_s=0.001))
    at_once = UsageLedger(tmp_path / "m", LedgerSettings(fsync=Fsync.ALWAYS))
    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "fdatasync", fails)
        open_one(by_thread, 1)
        with pytest.raises(OSError, match="No space left"):
            maintain_for_ever(by_thread)
        for act in (lambda: open_one(at_once, 1), at_once.flush):  # the second has nothing to write
            with pytest.raises(OSError, match="No space left"):
                act()
    by_thread.close()
    at_once.close()
    assert (by_thread.unsynced_bytes, at_once.unsynced_bytes) == (0, 0)


def maintain_for_ever(ledger: UsageLedger) -> None:
    while True:
        ledger.maintain()
        time.sleep(0.001)


WRITER = """
import sys
from headrace.fleet import LedgerSettings
from headrace.ledger import UsageLedger
path, fsync, run_id = sys.argv[1:]
ledger = UsageLedger(path, LedgerSettings(fsync=fsync, fsync_interval_s=0.001, rotate_bytes=2000), run_id=run_id)
number = 0
while True:
    number += 1
    ledger.opened(number, number, "b", "c", 0.0, input_tokens=1, reserved_output_tokens=9)
    print("o", number, flush=True)
    if number > 5:
        ledger.closed(number - 5, "completed", 1.0, output_tokens=3)
        print("c", number - 5, flush=True)
    ledger.maintain()
"""


@pytest.mark.parametrize("fsync", Fsync)
def test_kill_9_at_any_point_loses_nothing_and_doubles_nothing(tmp_path: Path, fsync: Fsync) -> None:
    """Several runs in a row, each killed somewhere; what a run said that it wrote is what is read, and it ends once."""
    chance, said = random.Random(str(fsync)), {}
    for run in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(fsync), f"run-{run}"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(chance.randrange(1, 150))]
        child.send_signal(signal.SIGKILL)
        lines += child.communicate()[0].splitlines(keepends=True)
        said[f"run-{run}"] = [line.split() for line in lines if line.endswith(b"\n")]
    recover(tmp_path)
    entries = list(read_ledger(tmp_path))
    assert max(Counter((e.run_id, e.attempt_id) for e in entries).values()) == 1
    assert all(e.status is not AttemptStatus.OPEN for e in entries)
    assert len(ledger_files(tmp_path)) > 4
    for run_id, told in said.items():
        own = {e.attempt_id: e for e in entries if e.run_id == run_id}
        opened = [int(number) for what, number in told if what == b"o"]
        closed = {int(number) for what, number in told if what == b"c"}
        assert len(own) - len(opened) in (0, 1), "one more may have been written before it was said"
        assert set(opened) <= set(own)
        completed = {number for number, e in own.items() if e.status is AttemptStatus.COMPLETED}
        assert closed <= completed
        assert len(completed - closed) <= 1
        assert all((e.output_low, e.output_high) == (0, 9) for n, e in own.items() if n not in completed)
