"""What is wrong with a trace is said with file and line, what, and what to do, before hours are spent."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from trace_rig import ROUNDS, claude, lines, mooncake, row, tracelab

from headrace.errors import TraceError
from headrace.traces import BadLines, TraceOptions, TraceSettings, check_ahead, open_trace

RATE = TraceOptions(rate_per_s=1.0)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (mooncake(500), "time goes back; sort the file by timestamp, and look for stamps in another unit"),
        (mooncake(60_000_000), "leaps by .* milliseconds mixed with seconds"),
        (mooncake(20_000, tokens=0, ids=()), "input_length must be at least 1, got 0"),
        (mooncake(20_000, output=-4), "output_length must be at least 0"),
        (mooncake(20_000, tokens=10**12), "no model takes more than 10,000,000 tokens; look at its unit"),
        (mooncake(20_000, ids=range(9)), "9 hash_ids for 1000 input tokens: expected at most 2"),
        ('{"timestamp": NaN, "input_length": 5, "output_length": 5}', "malformed"),
        ('{"timestamp": 20000.5, "input_length": 5, "output_length": 5}', "Expected `int`, got `float`"),
        ('{"timestamp": 20000, "output_length": 5}', "missing required field `input_length`"),
    ],
)
def test_a_bad_line_says_where_what_and_what_to_do(tmp_path: Path, bad: object, what: str) -> None:
    path = lines(tmp_path / "t.jsonl", mooncake(0), mooncake(15_000), bad, mooncake(21_000))
    with pytest.raises(TraceError, match=what) as caught:
        check_ahead({"c": path})
    assert (caught.value.path, caught.value.line) == (str(path), 3)
    left = list(open_trace(path, settings=TraceSettings(bad_lines=BadLines(1))).requests())
    assert len(left) in (2, 3)


def test_a_last_line_that_is_cut_off_is_told_apart_from_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(mooncake(0)) + "\n" + json.dumps(mooncake(9))[:20])
    with pytest.raises(TraceError, match="the file ends inside this line"):
        check_ahead({"c": path})


def test_a_gzip_that_is_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    whole = gzip.compress("".join(json.dumps(mooncake(at)) + "\n" for at in range(5000)).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TraceError, match=r"damaged or cut off here .*get it again"):
        list(open_trace(path).requests())


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (("0,0,1,0,9,9,0",), "session 0 begins at round 1: its first turn is missing"),
        (("0,0,0,0,9,9,0", "0,0,2,0,9,9,0"), "session 0 lacks round 1"),
        (("0,0,0,0,9,9,0", "1,5,0,0,9,9,0", "0,9,0,0,9,9,0"), "session 0 lies in two places"),
        (("0,0,0,0,9,9,9e12", "0,0,1,0,9,9,0"), "this session never ends"),
        (("0,0,0,0,9,9,nan",), "tool_wait_after_ms must be a number of at least 0, got 'nan'"),
        (("0,50,0,0,9,9,0", "1,5,0,0,9,9,0"), "session 1: time goes back; sort the file by arrival_time"),
        (("0,0,0,0,0,9,0",), "prefix_len \\+ input_len must be at least 1"),
        (("0,0,0,9,9,0",), "expected 7 columns, got 6"),
    ],
)
def test_a_session_that_cannot_be_is_named(tmp_path: Path, rows: tuple[str, ...], what: str) -> None:
    path = lines(tmp_path / "t.csv", *rows, header=ROUNDS)
    with pytest.raises(TraceError, match=what) as caught:
        check_ahead({"c": path})
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("requests", "what"),
    [
        ([], "has no first turn"),
        ([row(5.0), row(1.0)], "it must not go back"),
        ([row(0.0), row(9e9)], "nor leap"),
        ([row(0.0, tokens=100)], "2 blocks of 64 are more than 100 tokens"),
        ([row(0.0) | {"in": 0, "hash_ids": []}], "in must be at least 1"),
    ],
)
def test_a_session_file_that_cannot_be_is_named(tmp_path: Path, requests: list[dict[str, object]], what: str) -> None:
    path = claude(tmp_path / "s" / "1.json", *requests)
    with pytest.raises(TraceError, match=what) as caught:
        check_ahead({"c": path}, RATE)
    assert caught.value.path == str(path)


def test_a_session_that_comes_twice_is_refused(tmp_path: Path) -> None:
    for name in ("1", "2"):
        claude(tmp_path / "s" / f"{name}.json", row(0.0))
    with pytest.raises(TraceError, match="session s1 is in this trace already"):
        check_ahead({"c": tmp_path / "s"}, RATE)


def test_rounds_out_of_place_are_named(tmp_path: Path) -> None:
    stamps = "2026-06-01T05:40:20.000Z", "2026-06-01T05:40:30.000Z"
    late = lines(tmp_path / "late.jsonl", tracelab("s", 3, *stamps))
    with pytest.raises(TraceError, match="begins at round 3: its first turn is missing"):
        check_ahead({"c": late})
    twice = lines(tmp_path / "twice.jsonl", *[tracelab(name, 0, *stamps) for name in ("s", "t", "s")])
    with pytest.raises(TraceError, match="lies in two places"):
        check_ahead({"c": twice})
