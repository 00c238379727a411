"""`headrace probe` as its user meets it: it says what it will cost before it sends anything."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.cli import main

NOBODY = "http://127.0.0.1:9"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_the_worst_case_is_stated_and_nothing_is_sent_without_a_yes(command: Command) -> None:
    prices = ("--input-price", "2", "--output-price", "8")
    code, _, err = command("probe", NOBODY, "--model", "m", *prices, "--max-concurrency", "2")
    assert code == 1
    assert "at most" in err
    assert "USD" in err
    assert "no connection" not in err


def test_a_missing_key_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    code, _, err = command("probe", NOBODY, "--model", "m", "--api-key-env", "NO_SUCH_KEY")
    assert code == 2
    assert "--api-key-env: NO_SUCH_KEY" in err


def test_a_server_that_is_not_there_is_said_so(command: Command) -> None:
    code, _, err = command("probe", NOBODY, "--model", "a/b", "--yes")
    assert code == 2
    assert f"{NOBODY}: no connection" in err
    assert Path("probe-a-b.jsonl").exists()


def test_a_budget_without_room_sends_nothing(command: Command) -> None:
    code, out, err = command("probe", NOBODY, "--model", "m", "--budget-tokens", "10", "--json", "-")
    assert code == 0
    assert "no room" in err
    assert json.loads(out)["spent"] == {"requests": 0, "input_tokens": 0, "output_tokens": 0}


def test_a_wrong_url_is_named(command: Command) -> None:
    code, _, err = command("probe", "somewhere", "--model", "m", "--yes")
    assert code == 2
    assert "'somewhere' is not a backend's URL" in err


def test_a_probe_that_is_too_small_is_refused_with_what_is_missing(command: Command) -> None:
    Path("p.jsonl").write_text('{"line":"probe","schema":1,"url":"http://a","model":"m","started":"2026-11-25"}\n')
    code, _, err = command("calibrate", "p.jsonl")
    assert code == 2
    assert "prefill_s_per_token: 0 single requests" in err
    assert "decode_step_s" in err
    assert not Path("m.toml").exists()


def test_what_is_no_probe_file_is_refused(command: Command) -> None:
    Path("p.jsonl").write_text("TIMESTAMP\n")
    code, _, err = command("calibrate", "p.jsonl")
    assert code == 2
    assert "p.jsonl:1" in err
    code, _, err = command("replay", NOBODY, "--exact", "p.jsonl", "--seconds", "1")
    assert code == 2
    assert "p.jsonl:1" in err
