"""A bootstrap over tasks: starts stay, tasks stay whole, and a second copy is nobody's neighbour in a cache."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from trace_rig import ROUNDS, claude, lines, row

from headrace.traces import TraceOptions, open_traces
from headrace.traces.redrawn import redrawn
from headrace.workload import Item, Prefix, Request, Task, Turn, TurnGate, flatten


def task(number: int, start_s: float, turns: int, child: bool) -> Task:
    """A session whose context grows, and perhaps a sub-agent of it; its blocks are 1000 * number and on."""
    name = f"t{number}"
    found = []
    for index in range(turns):
        turn = Turn(name, name, index, 1.0 + number, ends_session=index == turns - 1, ends_task=index == turns - 1)
        blocks = Prefix(64, tuple(range(1000 * number, 1000 * number + index + 1)))
        found.append(Request(float(index), "c", 64 * (index + 1), number + 1, turn=turn, prefix=blocks))
        if child and not index and turns > 1:
            its = Turn(name, f"{name}/a", 0, 0.5, (name, 0), ends_session=True)
            fresh = Prefix(64, range(1000 * number + 500, 1000 * number + 501))
            found.append(Request(0.5, "c", 64, number + 1, turn=its, prefix=fresh))
    return Task(start_s, name, found)


def alone(number: int, start_s: float) -> Request:
    return Request(start_s, "c", 64, number + 1, prefix=Prefix(64, (1000 * number,)))


def drawn(items: list[Item], seed: int, name: str = "c") -> list[Item]:
    return list(redrawn(items, map(start_of, items), seed, name))


@st.composite
def traces(draw: st.DrawFn) -> list[Item]:
    starts = sorted(draw(st.lists(st.floats(0.0, 900.0), min_size=1, max_size=12)))
    found: list[Item] = []
    for number, start_s in enumerate(starts):
        turns = draw(st.integers(0, 5))
        found.append(task(number, start_s, turns, draw(st.booleans())) if turns else alone(number, start_s))
    return found


def sizes(item: Item) -> list[tuple[int, int, float]]:
    """Input, output (which numbers the task), and when it comes within it."""
    if not isinstance(item, Task):
        return [(item.input_tokens, item.output_tokens, 0.0)]
    return [(each.input_tokens, each.output_tokens, each.arrival_s) for each in item.requests]


def start_of(item: Item) -> float:
    return item.start_s if isinstance(item, Task) else item.arrival_s


@given(traces(), st.integers(0, 5))
def test_starts_stay_and_every_task_drawn_is_a_whole_one_of_the_trace(items: list[Item], seed: int) -> None:
    recorded = [sizes(item) for item in items]
    played = drawn(items, seed)
    assert [start_of(item) for item in played] == [start_of(item) for item in items]
    for item in played:
        got = sizes(item)
        assert got == recorded[got[0][1] - 1]


@given(traces(), st.integers(0, 5))
def test_sessions_of_a_copy_hang_together_and_meet_no_other(items: list[Item], seed: int) -> None:
    """A gate raises where a turn or a parent is missing, or two tasks share a name."""
    requests = list(flatten(drawn(items, seed)))
    gate = TurnGate()
    released: list[Request] = []
    for request in requests:
        if request.turn is None:
            continue
        if gate.offer(request) is not None:
            released.append(request)
        while released:
            now, _ = gate.ended(released.pop(0), request.arrival_s, True)
            released += [one for _, one in now]
    assert (gate.held, gate.tasks) == (0, 0)


@given(traces(), st.integers(0, 5))
def test_copies_share_no_block_and_each_is_a_growing_context(items: list[Item], seed: int) -> None:
    holders: dict[int, set[str]] = {}
    longest: dict[str, tuple[int, ...]] = {}
    for number, item in enumerate(drawn(items, seed)):
        for request in item.requests if isinstance(item, Task) else (item,):
            assert request.prefix is not None
            session = f"{number}" if request.turn is None else request.turn.session
            blocks = tuple(request.prefix.blocks)
            assert blocks[: len(longest.get(session, ()))] == longest.get(session, ())
            longest[session] = blocks
            for block in blocks:
                holders.setdefault(block, set()).add(f"{number}")
    assert all(len(tasks) == 1 for tasks in holders.values())


def test_draws_are_with_replacement_by_seed_and_class() -> None:
    items: list[Item] = [alone(number, float(number)) for number in range(40)]

    def lengths(seed: int, name: str = "c") -> list[int]:
        return [item.output_tokens for item in drawn(items, seed, name) if isinstance(item, Request)]

    assert lengths(1) == lengths(1)
    assert len({tuple(lengths(seed)) for seed in range(8)}) == 8
    assert lengths(1) != lengths(1, "d")
    missed = [len(set(range(1, 41)) - set(lengths(seed))) / 40 for seed in range(50)]
    assert 0.30 < sum(missed) / len(missed) < 0.43  # 1/e of the tasks are not drawn


def test_a_piece_takes_starts_and_draws_from_the_whole_trace(tmp_path: Path) -> None:
    for number in range(30):
        claude(
            tmp_path / "s" / f"{number:02}.json", row(0.0, tokens=128 + 64 * number, ids=range(2)), name=f"s{number}"
        )
    seen: Counter[int] = Counter()
    for seed in range(30):
        options = TraceOptions(rate_per_s=0.1, duration_s=60.0, redraw=True, seed=seed)
        found = list(open_traces({"agent": tmp_path / "s"}, options))
        assert all(request.arrival_s < 60.0 for request in found)
        seen.update(request.input_tokens for request in found)
    assert max(seen) > 128 + 64 * 25, "sessions from the end of the trace, too"


def test_starts_are_the_traces_own_where_it_has_a_clock_and_dealt_by_the_seed_where_not(tmp_path: Path) -> None:
    rows = [f"{number},{1000 * number},0,0,{100 + number},5,0" for number in range(20)]
    clock = lines(tmp_path / "clock.csv", *rows, header=ROUNDS)
    claude(tmp_path / "none" / "1.json", row(0.0), name="a")
    claude(tmp_path / "none" / "2.json", row(0.0), name="b")

    def starts(path: Path, seed: int) -> list[float]:
        options = TraceOptions(rate_per_s=0.1, redraw=True, seed=seed)
        return [request.arrival_s for request in open_traces({"agent": path}, options)]

    assert starts(clock, 1) == starts(clock, 2) == [float(number) for number in range(20)]
    assert starts(tmp_path / "none", 1) != starts(tmp_path / "none", 2)
    plain = open_traces({"agent": tmp_path / "none"}, TraceOptions(rate_per_s=0.1, seed=2))
    assert starts(tmp_path / "none", 2) == [request.arrival_s for request in plain]
