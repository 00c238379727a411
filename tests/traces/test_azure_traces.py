from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from headrace.errors import ConfigError, TraceError
from headrace.traces import TraceOptions, open_trace, open_traces, recognise

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"


def write(path: Path, *lines: str, header: str = HEADER, end: str = "\r\n") -> Path:
    path.write_bytes((header + "\r\n".join(lines) + end).encode())
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    return write(tmp_path / "code.csv", "2023-11-16 18:17:03.9799600,4808,10", "2023-11-16 18:17:04.0319600,3180,8")


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    rows = ("2023-11-16 18:17:01.9799600,374,44", "2023-11-16 18:17:04.0000000,396,0", "2023-11-16 18:27:04,7,1")
    return write(tmp_path / "conv.csv", *rows)


@pytest.mark.parametrize("end", ["\r\n", "", "\r\n\r\n"])
def test_seven_digit_fractions_and_any_file_end_are_read(tmp_path: Path, end: str) -> None:
    path = write(tmp_path / "t", "2023-11-16 18:17:03.9799600,4808,10", "2023-11-16 18:17:04.0319601,3180,8", end=end)
    first, second = open_trace(path, "coding").requests()
    assert (first.arrival_s, first.workload_class, first.input_tokens, first.output_tokens) == (0.0, "coding", 4808, 10)
    assert second.arrival_s == 0.0520001
    assert second.output_tokens == 8


def test_midnight_and_zones_keep_time_going(tmp_path: Path) -> None:
    path = write(tmp_path / "t", "2024-05-10 23:59:59+00:00,5,1", "2024-05-11 00:00:00.001163+00:00,5,1")
    assert [request.arrival_s for request in open_trace(path, "c").requests()] == [0.0, 1.001163]


def test_columns_are_read_by_name(tmp_path: Path) -> None:
    header = "NumImages,TIMESTAMP,GeneratedTokens,ContextTokens\n"
    path = write(tmp_path / "t", "3,2023-11-16 18:17:03,10,4808", header=header)
    (request,) = open_trace(path, "c").requests()
    assert (request.input_tokens, request.output_tokens) == (4808, 10)


def test_merged_traces_keep_their_true_distance_and_their_classes(code: Path, conv: Path) -> None:
    merged = list(open_traces({"coding": code, "chat": conv}))
    assert [(round(r.arrival_s, 4), r.workload_class, r.output_tokens) for r in merged] == [
        (0.0, "chat", 44),
        (2.0, "coding", 10),
        (2.02, "chat", 0),
        (2.052, "coding", 8),
        (602.02, "chat", 1),
    ]


def test_a_piece_starts_at_zero_and_is_played_faster(code: Path, conv: Path) -> None:
    piece = list(open_traces({"coding": code, "chat": conv}, TraceOptions(start_s=1.0, duration_s=1.04, speedup=2.0)))
    assert [(round(r.arrival_s, 4), r.workload_class) for r in piece] == [(0.5, "coding"), (0.51, "chat")]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("2023-11-16 18:17:05.0,12", "expected 3 columns, got 2"),
        ("2023-11-16 18:17:05.0,12,x", "GeneratedTokens must be a whole number of tokens, got 'x'"),
        ("2023-11-16 18:17:05.0,-3,4", "ContextTokens must be a whole number of tokens, got '-3'"),
        ("2023-11-16 18:17:05.0,0,4", "ContextTokens must be at least 1, got 0"),
        ("16/11/2023 18:17,3,4", "TIMESTAMP must look like"),
        ("2023-11-16 25:17:05.0,3,4", "TIMESTAMP is no time of day"),
        ("2023-13-16 18:17:05.0,3,4", "month must be in 1..12"),
        ("2023-11-16 18:00:00,3,4", "time goes back"),
        ("\x00\xff,,", "ContextTokens must be a whole number"),
    ],
)
def test_a_broken_line_is_named_and_can_be_tolerated(tmp_path: Path, line: str, what: str) -> None:
    path = write(tmp_path / "t.csv", "2023-11-16 18:17:03.97,4808,10", line, "2023-11-16 18:17:06.0,1,1")
    with pytest.raises(TraceError, match="month must be in" if "month" in what else what) as caught:
        list(open_trace(path, "c").requests())
    assert (caught.value.path, caught.value.line) == (str(path), 3)
    traces = open_traces({"c": path}, TraceOptions(skip_bad_lines=1))
    assert len(list(traces)) == 2
    assert traces.skipped == 1
    assert traces.bad_lines.errors[0].line == 3


def test_one_broken_line_too_many_ends_the_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "broken", "2023-11-16 18:17:03.97,4808,10", "broken")
    with pytest.raises(TraceError, match="1 broken lines before it were tolerated") as caught:
        list(open_traces({"c": path}, TraceOptions(skip_bad_lines=1)))
    assert caught.value.line == 4


def test_an_unknown_format_names_the_known_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "1,2", header="Timestamp,Model,Requested\n")
    with pytest.raises(TraceError, match=r"(?s)unknown trace format.*known formats:.*azure"):
        open_traces({"c": path})
    with pytest.raises(TraceError, match="header has no column TIMESTAMP, ContextTokens"):
        list(open_traces({"c": path}, TraceOptions(format="azure")))
    with pytest.raises(ConfigError, match=r"format: must be one of ledger.*got 'parquet'"):
        open_traces({"c": path}, TraceOptions(format="parquet"))


def test_absent_and_empty_files_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be opened: No such file"):
        open_traces({"c": tmp_path / "absent.csv"})
    (tmp_path / "empty.csv").touch()
    with pytest.raises(TraceError, match="the first line is empty"):
        open_traces({"c": tmp_path / "empty.csv"})
    assert list(open_traces({"c": write(tmp_path / "head.csv", end="")})) == []


def test_every_bad_option_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        open_traces(
            {}, TraceOptions(speedup=0, start_s=-1, duration_s=0, skip_bad_lines=-1, load=0, sample=2, rate_per_s=-1)
        )
    assert [fault.path for fault in caught.value.faults] == [
        *("skip_bad_lines", "speedup", "start_s", "duration_s", "load", "sample", "rate")
    ]


def test_both_azure_traces_are_read_whole(data_dir: Path) -> None:
    folder = data_dir / "traces" / "azure-llm-2023"
    paths = {
        name: folder / f"AzureLLMInferenceTrace_{part}.csv" for name, part in (("coding", "code"), ("chat", "conv"))
    }
    assert {recognise(path) for path in paths.values()} == {"azure"}
    merged = list(open_traces(paths))
    assert len(merged) == 20_927
    assert sum(request.workload_class == "coding" for request in merged) == 7_000
    assert all(a.arrival_s <= b.arrival_s for a, b in pairwise(merged))
    first_coding = next(request for request in merged if request.workload_class == "coding")
    assert first_coding.arrival_s == 77.29937
    assert max(request.input_tokens for request in merged if request.workload_class == "coding") == 7_437
