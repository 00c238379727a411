"""Each format is recognised from the file itself, and gives what it carries."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from trace_rig import ROUNDS, claude, lines, lmcache, mooncake, row, tracelab

from headrace.errors import ConfigError, TraceError
from headrace.ledger import UsageLedger
from headrace.ledger.journal import JournalFile
from headrace.policy import Arrived, Dispatch, End, Finished, Outcome
from headrace.policy.journal import JournalHeader
from headrace.traces import FORMATS, TraceOptions, TraceSettings, check_ahead, open_trace, open_traces, recognise
from headrace.workload import Request

CLOCKLESS = TraceSettings(rate_per_s=1.0)


def read(path: Path | str, settings: TraceSettings | None = None) -> list[Request]:
    return list(open_trace(path, "c", settings=settings).requests())


def test_mooncake_has_milliseconds_blocks_and_no_bursts_at_its_grid(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "t.jsonl.gz", mooncake(0), mooncake(0, ids=(0, 2)), mooncake(0), mooncake(3000), mooncake(9000)
    )
    assert recognise(path) == "mooncake"
    settings = TraceSettings()
    found = read(path, settings)
    assert [request.arrival_s for request in found] == [0.0, 1.0, 2.0, 3.0, 9.0]
    assert found[1].prefix is not None
    assert (found[1].prefix.block_tokens, found[1].prefix.blocks) == (512, (0, 2))
    assert "spread evenly" in settings.notes[0]


def test_claude_code_knows_pauses_sub_agents_and_whose_blocks_are_whose(tmp_path: Path) -> None:
    agent = {"t": 20.0, "type": "subagent", "agent_id": "a1", "duration_ms": 7000, "status": "completed"}
    alone = {"t": 13.0, "type": "subagent", "agent_id": "a2", "duration_ms": None, "status": "async_launched"}
    inside = [row(0.0, ids=(9,)), row(5.0, ids=(9, 10))]
    path = tmp_path / "s"
    claude(
        path / "1.json",
        row(0.0),
        row(10.0, ids=(1, 3)),
        alone | {"requests": inside[:1]},
        agent | {"requests": inside},
        row(25.0),
    )
    claude(path / "2.json", row(0.0, tokens=300), name="s2")
    assert recognise(path) == "claude-code"
    found = [request for request in read(path, CLOCKLESS) if request.turn and request.turn.task == "c/s1"]
    turns = {(request.turn.session, request.turn.number): request for request in found if request.turn}
    assert sorted(turns) == [("c/s1", 0), ("c/s1", 1), ("c/s1", 2), ("c/s1/a1", 0), ("c/s1/a1", 1), ("c/s1/a2", 0)]
    pauses = {key: request.turn.pause_s for key, request in turns.items() if request.turn}
    assert pauses[("c/s1", 1)] == 8.0  # 10 s after the start, 2 of them the answer
    assert pauses[("c/s1/a1", 0)] == 1.0  # began at 20 - 7 = 13 s, the turn before was answered at 12 s
    assert pauses[("c/s1", 2)] == 5.0  # the sub-agent ended at 20 s
    child = turns[("c/s1/a2", 0)].turn
    assert child is not None
    assert (child.detached, child.parent) == (True, ("c/s1", 1))
    assert found[-1].turn is not None
    assert sum(request.turn.ends_task for request in found if request.turn) == found[-1].turn.ends_task == 1
    start_s = found[0].arrival_s
    assert turns[("c/s1", 2)].arrival_s - start_s == pytest.approx(8.0 + 1.0 + 3.0 + 5.0)
    first, second = turns[("c/s1", 0)].prefix, turns[("c/s1", 1)].prefix
    assert first is not None
    assert second is not None
    assert first.blocks[0] == second.blocks[0] != 1
    assert first.blocks[1] != second.blocks[1]


def test_a_turn_that_was_recorded_twice_comes_once(tmp_path: Path) -> None:
    path = claude(tmp_path / "1.json", row(0.0) | {"type": "s"}, row(2.0), row(9.0, ids=(1, 2)), scope="global")
    found = read(path, CLOCKLESS)
    assert len(found) == 2
    assert found[0].prefix is not None
    assert found[0].prefix.blocks == (1, 2)


def test_an_archive_is_streamed_and_a_part_of_it_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "t.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        for name in ("x/a.jsonl", "y/b.jsonl"):
            text = lines(tmp_path / "part", lmcache(0, "word " * 200, session=name)).read_bytes()
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    assert recognise(path) == "lmcache"
    assert len(read(path)) == 2
    (only,) = read(f"{path}#y")
    assert only.turn is not None
    assert only.turn.session == "c/y/b.jsonl"
    with pytest.raises(TraceError, match="no file that begins with 'z'"):
        read(f"{path}#z")


def test_lmcache_is_sorted_and_its_text_becomes_lengths_and_shared_blocks(tmp_path: Path) -> None:
    base = "word " * 100
    path = lines(tmp_path / "t.jsonl", lmcache(2_000_000, base + "more " * 60), lmcache(0, base), lmcache(1, ""))
    first, second = read(path)
    assert (first.input_tokens, second.arrival_s) == (125, 2.0)
    assert first.prefix is not None
    assert second.prefix is not None
    assert second.prefix.blocks[:1] == first.prefix.blocks == first.prefix.blocks[:1]
    assert second.turn is not None
    assert second.turn.pause_s is None


def test_tracelab_rounds_know_tool_time(tmp_path: Path) -> None:
    rounds = [
        tracelab("s", 0, "2026-06-01T05:40:20.000Z", "2026-06-01T05:40:30.000Z"),
        tracelab("s", 1, "2026-06-01T05:40:45.500Z", "2026-06-01T05:40:50.000Z"),
    ]
    path = lines(tmp_path / "t.jsonl", *rounds)
    assert recognise(path) == "tracelab"
    _, second = read(path)
    assert second.turn is not None
    assert second.turn.pause_s == second.arrival_s == 15.5


def test_rounds_carry_waits_and_the_prefix_they_share(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.csv", "0,0,0,0,160,64,100", "0,0,1,224,32,64,0", "1,200,0,0,16,1,0", header=ROUNDS)
    assert recognise(path) == "rounds"
    found = {(r.turn.session, r.turn.number): r for r in read(path) if r.turn}
    assert [r.arrival_s for r in found.values()] == [0.0, 0.1, 0.2]
    first, second = found[("c/0", 0)], found[("c/0", 1)]
    assert (second.input_tokens, second.turn and second.turn.pause_s) == (256, 0.1)
    assert first.prefix is not None
    assert second.prefix is not None
    assert list(second.prefix.blocks)[:10] == list(first.prefix.blocks)
    assert found[("c/1", 0)].prefix is not None
    assert not set(found[("c/1", 0)].prefix.blocks) & set(second.prefix.blocks)


def test_burstgpt_with_sessions_knows_the_pause_and_leaves_failures_out(tmp_path: Path) -> None:
    header = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    rows = ("5,s,2,GPT-4,10,20,30,x", "6,t,1,GPT-4,10,0,10,x", "15,s,1,GPT-4,40,20,60,x", "9000,s,1,GPT-4,1,2,3,x")
    settings = TraceSettings()
    found = read(lines(tmp_path / "t.csv", *rows, header=header), settings)
    assert [request.arrival_s for request in found] == [0.0, 8.0, 8995.0]
    turns = [request.turn for request in found if request.turn]
    assert [(turn.number, turn.pause_s, turn.ends_task) for turn in turns] == [
        *((0, 0.0, False), (1, 8.0, True), (0, 0.0, True))
    ]
    assert turns[2].session != turns[0].session
    assert "left out" in settings.notes[0]
    plain = lines(
        tmp_path / "p.csv",
        "5,GPT-4,10,20,30,x",
        header="Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n",
    )
    assert [(r.arrival_s, r.turn) for r in read(plain)] == [(0.0, None)]


def test_bailian_chats_continue_chats(tmp_path: Path) -> None:
    def chat(name: int, parent: int, at_s: float) -> dict[str, object]:
        sizes = {
            "timestamp": at_s,
            "input_length": 30,
            "output_length": 3,
            "hash_ids": [1, 2],
            "turn": 1,
            "type": "text",
        }
        return {"chat_id": name, "parent_chat_id": parent, **sizes}

    path = lines(tmp_path / "t.jsonl", chat(1, -1, 0.5), chat(2, -1, 1.0), chat(3, 1, 9.25), chat(4, 1, 10.0))
    assert recognise(path) == "bailian"
    turns = [request.turn for request in read(path) if request.turn]
    assert [(turn.task, turn.number, turn.pause_s) for turn in turns] == [
        ("c/1@0.5", 0, None),
        ("c/2@1", 0, None),
        ("c/1@0.5", 1, None),
        ("c/4@10", 0, None),
    ]
    twice = lines(tmp_path / "twice.jsonl", chat(1, -1, 0.5), chat(1, -1, 1.0))
    with pytest.raises(TraceError, match="chat_id 1 comes a second time"):
        read(twice)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n", ("3772,54,3826,69.8",)),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", ("XXX,3772,54",)),
    ],
)
def test_pairs_of_lengths_need_a_rate(tmp_path: Path, header: str, rows: tuple[str, ...]) -> None:
    path = lines(tmp_path / "t.csv", *rows, header=header)
    assert recognise(path) == "lengths"
    (only,) = read(path, CLOCKLESS)
    assert (only.input_tokens, only.output_tokens) == (3772, 54)
    with pytest.raises(ConfigError, match=r"has no clock .*--rate"):
        read(path)


def test_prompts_have_the_length_of_their_reference_answer(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.jsonl", {"task_id": "x", "prompt": "a" * 400, "canonical_solution": "b" * 40})
    (only,) = read(path, CLOCKLESS)
    assert (only.input_tokens, only.output_tokens) == (100, 10)
    questions = lines(tmp_path / "q.jsonl", {"question_id": 1, "turns": ["what?"]})
    with pytest.raises(TraceError, match="no answer, so its output length is unknown"):
        read(questions, CLOCKLESS)


def test_servegen_places_as_many_requests_as_the_window_counted(tmp_path: Path) -> None:
    folder = tmp_path / "language" / "m"
    folder.mkdir(parents=True)
    windows = "0,0.5,8.5,Weibull,0.37,0.39\r\n600,0,0,,0,0\r\n1200,0.05,4,Gamma,0.06,103\r\n"
    (folder / "chunk-0-trace.csv").write_text(windows)
    (folder / "chunk-0-dataset.json").write_text(
        '{"0": {"input_tokens": "{7: 1.0}", "output_tokens": "{3: 0.5, 5: 0.5}"}}'
    )
    (folder / "chunk-1-trace.csv").write_text(windows)
    settings = TraceSettings()
    found = read(tmp_path, settings)
    assert [sum(start <= request.arrival_s < start + 600 for request in found) for start in (0, 600, 1200)] == [
        300,
        0,
        30,
    ]
    assert {(r.input_tokens, r.output_tokens, r.tenant) for r in found} == {(7, 3, "chunk-0"), (7, 5, "chunk-0")}
    assert "50% of the requests" in settings.notes[0]
    assert found == read(tmp_path)


def test_a_ledger_is_yesterdays_traffic(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with UsageLedger(path, started_unix_s=1000.0) as ledger:
        for number, (at_s, name) in enumerate([(1.0, "c"), (2.0, "c"), (2.5, "other"), (3.0, "c")], start=1):
            ledger.opened(number, number, "b", name, at_s, input_tokens=9, reserved_output_tokens=None)
        ledger.closed(2, "completed", 4.0, input_tokens=20, output_tokens=40)
        ledger.closed(1, "failed", 5.0)
        ledger.opened(5, 1, "b", "c", 5.0, input_tokens=9, reserved_output_tokens=None)
        ledger.closed(5, "completed", 6.0, input_tokens=10, output_tokens=30)
        ledger.closed(3, "completed", 7.0, input_tokens=1, output_tokens=1)
        ledger.closed(4, "cancelled", 8.0)
    assert recognise(path) == "ledger"
    settings = TraceSettings()
    found = read(path, settings)
    assert [(r.arrival_s, r.input_tokens, r.output_tokens) for r in found] == [
        (1.0, 10, 30),
        (2.0, 20, 40),
        (3.0, 9, 35),
    ]
    assert "1 requests did not finish" in settings.notes[0]
    assert len(list(open_trace(f"{path}#other", "c").requests())) == 1
    with pytest.raises(TraceError, match=r"no finished request of class 'x'; others: c, other"):
        list(open_trace(path, "x").requests())


def test_a_journal_is_yesterdays_traffic(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with JournalFile(path, JournalHeader(1, "0", 0, "prices", "")) as journal:
        for number in (1, 2):
            dispatch = Dispatch(number, 10 + number, "b", 0.0, 0.0, 1.0)
            journal.record(float(number), Arrived(number, "c", 8, "team", "m", 99), [dispatch])
        journal.record(4.0, Finished(12, 21, 22), [End(2, Outcome.COMPLETED)])
        journal.record(5.0, Finished(11, 11, 12), [End(1, Outcome.COMPLETED)])
    assert recognise(path) == "journal"
    found = read(path)
    assert [(r.arrival_s, r.input_tokens, r.output_tokens) for r in found] == [(1.0, 11, 12), (2.0, 21, 22)]
    assert (found[0].tenant, found[0].model, found[0].max_output_tokens) == ("team", "m", 99)


def test_no_known_format_names_all_of_them(tmp_path: Path) -> None:
    path = lines(tmp_path / "t", "what,is,this")
    with pytest.raises(TraceError, match="known formats") as caught:
        open_trace(path)
    assert all(name in str(caught.value) for name in FORMATS)


def test_traces_of_different_years_start_together_and_a_note_says_so(tmp_path: Path) -> None:
    azure = lines(tmp_path / "a.csv", "2023-11-16 18:17:03,5,1", header="TIMESTAMP,ContextTokens,GeneratedTokens\n")
    rounds = lines(tmp_path / "b.jsonl", tracelab("s", 0, "2026-06-01T05:40:20.000Z", "2026-06-01T05:40:30.000Z"))
    opened = open_traces({"coding": azure, "agent": rounds})
    assert [request.arrival_s for request in opened] == [0.0, 0.0]
    assert "more than a week apart" in opened.notes[0]


def test_checking_ahead_reads_no_further_than_it_is_told(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.jsonl", *[mooncake(at) for at in range(10)], "broken")
    assert check_ahead({"c": path}, requests=8) == []
    with pytest.raises(TraceError):
        check_ahead({"c": path}, TraceOptions(), requests=20)


def test_every_format_is_in_the_documentation() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "traces.md").read_text()
    assert all(f"| `{name}` |" in page for name in FORMATS)
