"""`headrace up` as its user meets it: a process, its output, a request, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.config import load_fleet
from headrace.ledger import read_ledger

WAIT_S = 60.0
FREE_PORTS = ("--port", "0", "--admin-port", "0")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Starts `headrace up` in an empty directory; whatever is left of it at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "headrace.cli", "up", *options]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def lines_until(process: subprocess.Popen[str], word: str) -> list[str]:
    """What it says on stderr, up to the first line with `word`."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"it ended without {word!r}: {lines}")


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that nobody has waited for yet has)."""
    try:
        return re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE) is not None
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pid: int) -> None:
    for _ in range(int(WAIT_S * 10)):
        if gone(pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} still lives")


def test_traffic_runs_is_reported_and_then_the_printed_curl_line_works(start: Start, tmp_path: Path) -> None:
    process = start("--seconds", "4", *FREE_PORTS, "--json", "report.json", "--seed", "3")
    line = lines_until(process, "curl")[-1]
    url = re.search(r"http://\S+", line)
    body = re.search(r"-d '(.*)'", line)
    assert url is not None
    assert body is not None
    sent = urllib.request.Request(url[0], body[1].encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(sent, timeout=WAIT_S) as answer:
        assert answer.headers["x-headrace-backend"] in {backend.name for backend in load_fleet().backends}
        assert answer.read().rstrip().endswith(b"data: [DONE]")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["schema"], report["command"], report["seed"]) == (1, "up", 3)
    assert report["requests"]["arrived"] == report["requests"]["completed"] > 0
    emulators = children(process.pid)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert "shares" in out
    assert "pools" in out
    for pid in emulators:
        wait_until_gone(pid)
    records = list(read_ledger(tmp_path / "headrace-ledger.jsonl"))
    assert len(records) == report["requests"]["completed"] + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_stopped_in_the_middle_of_its_traffic(start: Start, number: signal.Signals) -> None:
    process = start("--seconds", "600", *FREE_PORTS)
    lines_until(process, "gateway")
    process.send_signal(number)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert "Traceback" not in err


def test_without_traffic_it_serves_at_once(start: Start) -> None:
    process = start("--seconds", "0", *FREE_PORTS)
    assert "curl" in lines_until(process, "curl")[-1]


def test_a_taken_port_is_named_with_a_way_out(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("--seconds", "0", "--port", str(port), "--admin-port", "0")
        _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert str(port) in err
    assert "--port 0" in err
    assert "Traceback" not in err


def test_the_emulator_does_not_outlive_a_killed_parent(start: Start) -> None:
    process = start("--seconds", "0", *FREE_PORTS)
    lines_until(process, "curl")
    emulators = [pid for pid in children(process.pid) if not gone(pid)]
    assert emulators
    os.kill(process.pid, signal.SIGKILL)
    process.wait(WAIT_S)
    for pid in emulators:
        wait_until_gone(pid)
