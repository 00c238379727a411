"""Commands as their user meets them: what they print, write and exit with, on good input and on bad."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.config import sample_fleet_text

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
LINES = "2023-11-16 18:17:03.9799600,400,20\n2023-11-16 18:17:04.0319600,100,8\n"
WAIT_S = 60.0
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `headrace ARGUMENTS` as a process in an empty directory."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "headrace.cli", *arguments]
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def one_backend_fleet(port: int) -> str:
    """A fleet of one emulated backend of observed speed at a port."""
    return f"""
schema = 1
models = {{ "gpt-oss-120b" = {{}} }}

[deployments.point]
model = "gpt-oss-120b"
observed = {{ ttft_s = 0.01, input_tokens_per_s = 100000.0, tpot_s = 0.001 }}

[pools.only]
deployment = "point"
price = {{ type = "per_token", input_usd_per_mtok = 0.1, output_usd_per_mtok = 0.4 }}
backends = [{{ name = "only-1", url = "http://127.0.0.1:{port}", emulated = true }}]

[classes.chat]
value_of_time_usd_per_s = 0.0003

[[routes]]
pools = ["only"]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def said(process: subprocess.Popen[str], word: str) -> str:
    """The first line on stderr with `word`."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return line
    raise AssertionError(f"it ended without {word!r}")


# -- check -----------------------------------------------------------------------------------------------------------


def test_check_writes_what_it_shows(command: Command) -> None:
    code, out, _ = command("check", "--json", "check.json")
    result = json.loads(Path("check.json").read_text())
    assert code == 0
    assert result["faults"] == []
    assert {"h100", "b200", "mi355x", "tpu-v6e", "trainium2", "inferentia2", "cerebras", "groq"} == set(result["pools"])
    assert all(name in out for name in result["pools"])
    assert result["pools"]["cerebras"]["output_tokens_per_s"] > result["pools"]["h100"]["output_tokens_per_s"]


def test_check_reports_every_fault_in_text_and_in_json(command: Command) -> None:
    Path("fleet.toml").write_text('schema = 2\n[pools.a]\ndeployment = "none"\n')
    code, _, err = command("check", "fleet.toml", "--json", "check.json")
    faults = json.loads(Path("check.json").read_text())["faults"]
    assert code == 2
    assert len(faults) > 2
    assert all(f"  {fault['path']}: {fault['message']}" in err for fault in faults)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[", "[[", ["fleet.toml"]),
        ('accelerator = "H100"', 'accelerator = "H1000"', ["deployments.h100", "H1000", "H100"]),
        ("count = 8", 'count = "eight"', ["count"]),
    ],
)
def test_a_bad_fleet_file_is_refused_with_the_place(command: Command, old: str, new: str, words: list[str]) -> None:
    text = sample_fleet_text()
    assert old in text
    Path("fleet.toml").write_text(text.replace(old, new, 1))
    for arguments in (["check", "fleet.toml"], ["simulate", "fleet.toml"], ["serve", "fleet.toml", "--port", "0"]):
        code, _, err = command(*arguments)
        assert code == 2
        assert all(word in err for word in words), err


def test_a_model_that_fits_nowhere_is_refused(command: Command) -> None:
    text = sample_fleet_text().replace('accelerator = "H100"\ncount = 8', 'accelerator = "LPU"\ncount = 8', 1)
    Path("fleet.toml").write_text(text)
    code, _, err = command("check", "fleet.toml")
    assert code == 2
    assert "fit" in err


# -- simulate and traces ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trace", "coding"], ["--trace coding", "CLASS=PATH"]),
        (["--trace", "poems=t.csv"], ["poems", "coding"]),
        (["--trace", "coding=none.csv"], ["none.csv", "No such file"]),
        (["--trace", "coding=bad.csv"], ["bad.csv:3", "expected 3 columns"]),
        (["--trace", "coding=t.csv", "--format", "parquet"], ["parquet", "azure"]),
        (["--trace", "coding=t.csv", "--speedup", "0"], ["speedup", "positive"]),
        (["--trace", "coding=t.csv", "--sample", "2"], ["sample", "at most 1"]),
        (["--trace", "coding=t.csv", "--load", "0"], ["load", "positive"]),
        (["--trace", "coding=pairs.csv"], ["pairs.csv", "no clock", "--rate"]),
    ],
)
def test_bad_traces_are_named(command: Command, arguments: list[str], words: list[str]) -> None:
    Path("t.csv").write_text(HEADER + LINES)
    Path("bad.csv").write_text(HEADER + LINES.splitlines(keepends=True)[0] + "a broken line\n")
    Path("pairs.csv").write_text(HEADER + "XXX,5,5\n")
    code, _, err = command("simulate", *arguments)
    assert code == 2
    assert all(word in err for word in words), err


def test_a_sample_and_a_load_say_what_they_did(command: Command) -> None:
    Path("t.csv").write_text(HEADER + LINES)
    code, out, err = command("simulate", "--trace", "coding=t.csv", "--sample", "0.5", "--load", "2", "--json", "-")
    assert code == 0
    assert json.loads(out)["requests"]["arrived"] <= 2
    for words in ("0.5 of every pool", "taken as 1", "Erlang C", "load 2:", "pauses within sessions, stay"):
        assert words in err


def test_sessions_are_simulated_closed_loop_and_reported_as_tasks(command: Command) -> None:
    rows = ("0,0,0,0,512,64,100", "0,0,1,576,128,64,0", "1,200,0,0,400,48,0")
    head = "session_id,arrival_time,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n"
    Path("t.csv").write_text(head + "".join(f"{row}\n" for row in rows))
    code, out, _ = command("simulate", "--trace", "agent=t.csv", "--json", "-")
    assert code == 0
    tasks = json.loads(out)["classes"]["agent"]["tasks"]
    assert (tasks["count"], tasks["completed"]) == (2, 2)
    assert tasks["e2e_s"]["p99"] > 0.1
    assert "tasks" not in json.loads(out)["classes"]["chat"]


def test_broken_lines_are_left_out_when_that_is_asked_for(command: Command) -> None:
    Path("bad.csv").write_text(HEADER + LINES + "a broken line\n")
    code, out, _ = command("simulate", "--trace", "coding=bad.csv", "--skip-bad-lines", "1", "--json", "-")
    assert code == 0
    assert json.loads(out)["requests"]["completed"] == 2


def test_the_result_is_the_same_bytes_and_wall_time_is_apart(command: Command) -> None:
    for name in ("a", "b"):
        command("simulate", "--seconds", "60", "--seed", "5", "--json", f"{name}.json", "--timing", f"{name}.time")
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()
    assert json.loads(Path("a.time").read_text())["wall_s"] > 0.0
    assert json.loads(Path("a.json").read_text())["seed"] == 5


# -- serve, emulate, replay, journal ---------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["serve", "emulate"])
def test_a_taken_port_is_named_with_a_way_out(command: Command, which: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        Path("fleet.toml").write_text(one_backend_fleet(port))
        options = ["--port", str(port), "--admin-port", "0"] if which == "serve" else []
        code, _, err = command(which, "fleet.toml", *options)
    assert code == 2
    assert str(port) in err
    assert ("--port 0" if which == "serve" else "other URLs") in err


def test_a_ledger_that_cannot_be_written_is_not_blamed_on_the_port(command: Command) -> None:
    code, _, err = command("serve", "--ledger", "no/such/place.jsonl", "--port", "0", "--admin-port", "0")
    assert code == 2
    assert "no/such/place.jsonl" in err
    assert "--port" not in err


def test_what_is_no_journal_is_refused(command: Command) -> None:
    Path("t.csv").write_text(HEADER)
    code, _, err = command("journal", "verify", "t.csv")
    assert code == 2
    assert "t.csv:1" in err


def test_live_from_fleet_file_to_verified_journal(start: Any, command: Command, tmp_path: Path) -> None:
    """Emulate, serve, replay until Ctrl-C, and run the journal again: four commands, all that they write."""
    Path("fleet.toml").write_text(one_backend_fleet(free_port()))
    emulating = start("emulate", "fleet.toml", "--json", "emulate.json")
    said(emulating, "only-1")
    files = ("--ledger", "l.jsonl", "--journal", "j.jsonl", "--json", "serve.json")
    serving = start("serve", "fleet.toml", "--port", "0", "--admin-port", "0", *files)
    said(serving, "/admin/state")
    served = json.loads(Path("serve.json").read_text())
    emulated = json.loads(Path("emulate.json").read_text())
    assert served["backends"] == emulated["backends"]
    url = served["url"].removesuffix("/v1")
    code, out, err = command("replay", url, "fleet.toml", "--seconds", "2", "--seed", "4", "--json", "-")
    report = json.loads(out)
    assert code == 0, err
    assert report["seed"] == 4
    assert report["requests"]["completed"] == report["requests"]["arrived"] > 0
    replaying = start("replay", url, "fleet.toml", "--seconds", "600", "--json", "replay.json", "--timing", "t.json")
    said(replaying, "replaying")
    replaying.send_signal(signal.SIGINT)
    replaying.communicate(timeout=WAIT_S)
    assert replaying.returncode == 0
    stopped = json.loads(Path("replay.json").read_text())["requests"]
    assert stopped["arrived"] == sum(stopped[end] for end in ("completed", "cancelled", "failed", "rejected"))
    serving.send_signal(signal.SIGTERM)
    serving.communicate(timeout=WAIT_S)
    code, out, err = command("journal", "verify", "j.jsonl", "--json", "-")
    assert code == 0, err
    assert json.loads(out)["identical"] is True
    assert json.loads(out)["events"] >= 3 * report["requests"]["completed"]


def test_a_replay_of_nothing_says_so(command: Command) -> None:
    Path("t.csv").write_text(HEADER + LINES)
    code, _, err = command("replay", "http://127.0.0.1:9", "--trace", "coding=t.csv", "--start", "1000")
    assert code == 2
    assert "--start" in err


def test_a_replay_against_nobody_ends_and_counts_every_request_as_failed(command: Command) -> None:
    Path("t.csv").write_text(HEADER + LINES)
    url = f"http://127.0.0.1:{free_port()}"
    code, out, err = command("replay", url, "--trace", "coding=t.csv", "--json", "-")
    assert code == 0
    assert json.loads(out)["requests"]["failed"] == 2
    assert "2 requests" in err


@pytest.mark.parametrize("words", [("simulate",), ("replay", "http://127.0.0.1:9")])
def test_a_piece_of_no_trace_is_refused(command: Command, words: tuple[str, ...]) -> None:
    code, _, err = command(*words, "--duration", "20", "--start", "5")
    assert code == 2
    assert "--duration" in err
    assert "--start" in err
    assert "--seconds" in err
