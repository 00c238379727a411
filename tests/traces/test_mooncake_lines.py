"""A request that is written as a line of a Mooncake trace is read back, to the millisecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import InvariantError
from headrace.traces import MOONCAKE_BLOCK_TOKENS, TraceOptions, mooncake_line, open_traces
from headrace.workload import Prefix, Request

REQUESTS = [
    Request(0.25, "chat", 700, 5),
    Request(1.5, "chat", 2000, 30, prefix=Prefix(MOONCAKE_BLOCK_TOKENS, (7 << 48, 8))),
]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"".join(map(mooncake_line, REQUESTS)))
    assert list(open_traces({"chat": str(path)}, TraceOptions())) == REQUESTS


def test_other_blocks_are_refused() -> None:
    with pytest.raises(InvariantError, match="blocks of 16 tokens, not 512"):
        mooncake_line(Request(0.0, "chat", 700, 5, prefix=Prefix(16, (1,))))
