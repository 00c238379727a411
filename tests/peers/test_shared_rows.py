"""Rows in shared memory: whole or not at all, whoever writes and dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InvariantError
from headrace.peers import MemoryPeers, SharedRows, decode_report, encode_report
from headrace.peers.memory import HEADER, NUMBER
from headrace.policy import PeerLoad, PeersReported

WRITER = """
import sys
from headrace.peers import SharedRows
rows = SharedRows(sys.argv[1], 2, 1 << 16)
print("begun", flush=True)
k = 0
while True:
    k += 1
    rows.write(0, bytes([k % 251]) * (1 + k * 977 % 60000))
"""


def test_what_is_read_was_written_whole_and_a_killed_writer_leaves_nothing_torn(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    rows = SharedRows(path, 2, 1 << 16)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    seen = set()
    while len(seen) < 40:
        row = rows.read(0)
        if row is not None:
            assert len(set(row.data)) == 1
            seen.add(row.data[0])
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    row = rows.read(0)
    assert row is None or len(set(row.data)) == 1
    rows.write(0, b"successor")
    assert rows.read(0) is not None


def test_a_row_whose_writer_died_in_the_middle_is_passed_over_until_its_successor_writes(tmp_path: Path) -> None:
    rows = SharedRows(tmp_path / "rows", 1, 64)
    assert rows.read(0) is None
    rows.write(0, b"whole")
    number = HEADER.unpack_from(rows._memory, 0)[0]
    NUMBER.pack_into(rows._memory, 0, number + 1)
    assert rows.read(0) is None
    rows.write(0, b"again")
    read = rows.read(0)
    assert read is not None
    assert read.data == b"again"


def test_bytes_that_do_not_fit_their_checksum_are_not_believed(tmp_path: Path) -> None:
    rows = SharedRows(tmp_path / "rows", 1, 64)
    rows.write(0, b"whole")
    rows._memory[HEADER.size : HEADER.size + 5] = b"whale"
    assert rows.read(0) is None


def test_a_row_that_is_too_old_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, read = SharedRows(tmp_path / "rows", 1, 64), []

    def checksum(now_ns: int, data: bytes) -> int:
        read.append(data)
        return 7

    monkeypatch.setattr("headrace.peers.memory._checksum", checksum)
    rows.write(0, b"old")
    read.clear()
    written = rows.read(0)
    assert written is not None
    assert rows.read(0, written.written_s) == written
    read.clear()
    assert rows.read(0, written.written_s + 0.001) is None
    assert read == []


@given(data=st.binary(max_size=64), row=st.integers(0, 2))
def test_rows_say_what_was_written_and_no_other_row_does(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, row: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows"
    SharedRows(path, 3, 64).write(row, data)
    other = SharedRows(path, 3, 64)
    assert [None if read is None else read.data for read in map(other.read, range(3))] == [
        data if number == row else None for number in range(3)
    ]


def test_a_row_has_a_bound(tmp_path: Path) -> None:
    with pytest.raises(InvariantError, match="65 bytes do not fit into 64"):
        SharedRows(tmp_path / "rows", 1, 64).write(0, bytes(65))


def test_workers_hear_those_who_live(tmp_path: Path) -> None:
    rows = SharedRows(tmp_path / "rows", 3, 4096)
    peers = [MemoryPeers(rows, number, dead_after_s=60.0) for number in range(3)]
    said = [PeersReported(0.0, 1, (PeerLoad("b", number),)) for number in range(3)]

    async def story() -> None:
        before_s = time.monotonic()
        for peer, report in zip(peers, said, strict=True):
            await peer.exchange(encode_report(report))
        heard = await peers[0].exchange(encode_report(said[0]))
        assert [(each.name, decode_report(each.data)) for each in heard] == [
            ("worker-1", said[1]),
            ("worker-2", said[2]),
        ]
        assert all(before_s <= each.as_of_s <= time.monotonic() for each in heard)
        await peers[1].close()
        assert [each.name for each in await peers[0].exchange(b"")] == ["worker-2"], "who has left is not heard"
        deaf = MemoryPeers(rows, 0, dead_after_s=0.0)
        assert await deaf.exchange(b"") == [], "who is silent is dead"

    asyncio.run(story())
