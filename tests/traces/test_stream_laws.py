"""Laws of every stream of requests: order, whole sessions, the same sample, lengths that scaling leaves alone."""

from __future__ import annotations

import gc
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_rig import ROUNDS, lines, mooncake

from headrace.errors import TraceError
from headrace.traces import TraceFile, TraceOptions, TraceSettings, open_traces
from headrace.traces._lines import BadLines, good_rows
from headrace.traces.interleaved import IDLE_S, Interleaved, Row
from headrace.traces.source import Member
from headrace.workload import Prefix, Request, TurnGate, flatten

SAME_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
Sessions = list[tuple[int, list[tuple[int, int, int]]]]
sessions = st.lists(
    st.tuples(
        st.integers(0, 100_000),
        st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 500), st.integers(0, 9000)), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=12,
)


def written(path: Path, held: Sessions) -> Path:
    rows = []
    for number, (start_ms, rounds) in enumerate(sorted(held, key=lambda one: one[0])):
        for index, (tokens, answer, wait_ms) in enumerate(rounds):
            rows.append(f"{number},{start_ms},{index},0,{tokens},{answer},{wait_ms}")
    return lines(path, *rows, header=ROUNDS)


def tasks_of(requests: list[Request]) -> Counter[str]:
    return Counter(request.turn.task for request in requests if request.turn)


@SAME_FILE
@given(held=sessions)
def test_what_was_written_is_read_back_in_order(tmp_path: Path, held: Sessions) -> None:
    found = list(open_traces({"c": written(tmp_path / "t.csv", held)}))
    assert all(a.arrival_s <= b.arrival_s for a, b in pairwise(found))
    want = Counter((tokens, answer) for _, rounds in held for tokens, answer, _ in rounds)
    assert Counter((request.input_tokens, request.output_tokens) for request in found) == want


@SAME_FILE
@given(held=sessions, fraction=st.floats(0.01, 1), seed=st.integers(0, 9))
def test_a_sample_keeps_sessions_whole_is_the_same_again_and_nests(
    tmp_path: Path, held: Sessions, fraction: float, seed: int
) -> None:
    path = written(tmp_path / "t.csv", held)
    whole = tasks_of(list(open_traces({"c": path})))
    some = list(open_traces({"c": path}, TraceOptions(sample=fraction, seed=seed)))
    kept = tasks_of(some)
    assert all(count == whole[task] for task, count in kept.items())
    assert some == list(open_traces({"c": path}, TraceOptions(sample=fraction, seed=seed)))
    fewer = tasks_of(list(open_traces({"c": path}, TraceOptions(sample=fraction / 2, seed=seed))))
    assert set(fewer) <= set(kept)


@SAME_FILE
@given(held=sessions, load=st.floats(0.1, 10))
def test_load_moves_starts_and_leaves_lengths_and_pauses(tmp_path: Path, held: Sessions, load: float) -> None:
    path = written(tmp_path / "t.csv", held)
    plain, dense = (list(open_traces({"c": path}, TraceOptions(load=one))) for one in (1.0, load))
    assert all(a.arrival_s <= b.arrival_s for a, b in pairwise(dense))

    def told(request: Request) -> tuple[object, ...]:
        return request.input_tokens, request.output_tokens, request.turn

    assert Counter(map(told, plain)) == Counter(map(told, dense))
    starts = [{r.turn.task: r.arrival_s for r in reversed(found) if r.turn} for found in (plain, dense)]
    assert all(starts[1][task] == pytest.approx(start_s / load) for task, start_s in starts[0].items())


@SAME_FILE
@given(held=sessions, start_ms=st.integers(0, 100_000))
def test_a_piece_never_tears_a_session(tmp_path: Path, held: Sessions, start_ms: int) -> None:
    path = written(tmp_path / "t.csv", held)
    whole = tasks_of(list(open_traces({"c": path})))
    piece = list(open_traces({"c": path}, TraceOptions(start_s=start_ms / 1000.0, duration_s=20.0)))
    assert all(count == whole[task] for task, count in tasks_of(piece).items())
    gate = TurnGate()
    for request in piece:
        gate.offer(request)  # raises for a session without its first turn


def test_a_sample_is_about_as_large_as_it_says(tmp_path: Path) -> None:
    rows = [f"{number},{number},0,0,9,9,0" for number in range(4000)]
    path = lines(tmp_path / "t.csv", *rows, header=ROUNDS)
    kept = len(list(open_traces({"c": path}, TraceOptions(sample=0.1))))
    assert 300 < kept < 500  # 400 in the mean, five standard deviations of 19


# -- turns that lie scattered ----------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.floats(0, 4000), st.sampled_from(["a", "b", "c", None]), st.sampled_from([None, 0.5, 90.0])),
        max_size=40,
    )
)
def test_scattered_turns_come_once_in_order_and_in_sessions_that_end(
    gaps: list[tuple[float, str | None, float | None]],
) -> None:
    rows, now_s = [], 0.0
    for index, (gap_s, session, answer_s) in enumerate(gaps):
        now_s += gap_s
        rows.append(Row(now_s, session, index + 1, 1, answer_s))
    found = list(flatten(Interleaved(iter(rows), "c").items()))
    assert all(a.arrival_s <= b.arrival_s for a, b in pairwise(found))
    assert sorted(request.input_tokens for request in found) == [row.input_tokens for row in rows]
    recorded = {row.input_tokens: row.at_s for row in rows}
    ends = Counter[str]()
    gate = TurnGate()
    for request in found:
        assert request.arrival_s <= recorded[request.input_tokens] + 1e-6
        if request.turn:
            gate.offer(request)
            ends[request.turn.task] += request.turn.ends_task
    assert set(ends.values()) <= {1}


# -- memory ----------------------------------------------------------------------------------------------------------


class _Endless(TraceFile):
    """Rows made as they are asked for, as a pipe would: a week of them if need be."""

    format = "endless"
    made = 0

    def items(self, t0_ns: int):  # type: ignore[no-untyped-def]
        def rows():  # type: ignore[no-untyped-def]
            while True:
                self.made += 1
                yield Row(self.made * 10.0, f"s{self.made // 20 * 7 + self.made % 7}", 5, 5, 1.0)

        return Interleaved(rows(), self.workload_class).items()


def test_memory_follows_what_is_under_way_and_not_the_length() -> None:
    trace = _Endless(None, "c", TraceSettings())  # type: ignore[arg-type]
    stream = trace.requests()

    def live() -> int:
        gc.collect()
        return sum(isinstance(one, Request | Row) for one in gc.get_objects())

    counts = []
    for _ in range(4):
        for _ in islice(stream, 3000):
            pass
        counts.append(live())
        assert trace.made < 3000 * len(counts) + 3 * IDLE_S / 10.0 + 100
    assert max(counts[1:]) <= 1.5 * counts[0] + 100


def test_a_file_is_read_as_it_is_asked_for() -> None:
    class Pipe:
        read = 0

        def readline(self, size: int) -> bytes:
            self.read += 1
            return b"1\n"

    pipe = Pipe()
    rows = good_rows(Member("pipe", "pipe", pipe), int, BadLines())  # type: ignore[arg-type]
    assert list(islice(rows, 10)) == [1] * 10
    assert pipe.read <= 11


def test_blocks_put_together_say_the_same_prefix(tmp_path: Path) -> None:
    rows = [mooncake(1000 * number, tokens=512 * 7, ids=range(7)) for number in range(3)]
    path = lines(tmp_path / "m.jsonl", *rows)
    (first, *_) = open_traces({"c": path}, TraceOptions(block_tokens=1024))
    assert first.prefix == Prefix(1024, (1, 3, 5))
    with pytest.raises(TraceError, match="block_tokens = 768 is no multiple"):
        list(open_traces({"c": path}, TraceOptions(block_tokens=768)))
