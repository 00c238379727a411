"""`headrace init` writes a fleet file that can be used at once, and never a key."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.bench.live_check import live_claims
from headrace.cli import questions
from headrace.config import load_fleet
from headrace.emulate.process import EmulatorProcess
from headrace.fleet import ShareUnit

Command = Callable[..., tuple[int, str, str]]
KEY = "a-key-that-no-file-may-hold"


@pytest.fixture(scope="module")
def urls(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    examples = Path(__file__).resolve().parents[2] / "examples"
    process = EmulatorProcess(load_fleet(examples / "first-steps.toml"))
    yield process.urls
    process.stop()


@pytest.fixture
def flags(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("CEREBRAS_API_KEY", KEY)
    monkeypatch.setattr(questions, "at_a_terminal", lambda: False)
    fast = ["--fast", urls["cerebras-1"], "--fast-dialect", "cerebras", "--key-env", "CEREBRAS_API_KEY"]
    return ["init", "--own", urls["own-vllm"], "--on", "H100:8", *fast]


def test_what_it_writes_is_a_fleet_whose_fast_backend_answers(command: Command, flags: list[str]) -> None:
    code, out, err = command(*flags, "--share", "12")
    assert code == 0, err
    fleet = load_fleet(Path("fleet.toml"))
    share = fleet.steered_share()
    assert share is not None
    assert (share.target, share.of, share.pools) == (0.12, ShareUnit.COMPUTE, ("fast",))
    claims = asyncio.run(live_claims(fleet.backends[-1], "gpt-oss-120b"))
    assert [claim for claim in claims if claim.holds is False] == []
    assert "headrace serve fleet.toml" in out


def test_servers_with_names_of_their_own_are_asked_by_them(command: Command, flags: list[str]) -> None:
    """One has Groq's name, one the catalog's: that is the fleet's name, and clients may use either."""
    sample = load_fleet(Path(__file__).resolve().parents[2] / "examples" / "first-steps.toml")
    own = sample.pools["own"]
    named = replace(own, backends=(replace(own.backends[0], served_model_name="openai/gpt-oss-120b"),))
    process = EmulatorProcess(replace(sample, pools={**sample.pools, "own": named}))
    try:
        flags[flags.index("--own") + 1] = process.urls["own-vllm"]
        code, _, err = command(*flags, "--model", "openai/gpt-oss-120b")
        assert code == 0, err
        fleet = load_fleet(Path("fleet.toml"))
        first, fast = fleet.backends
        assert (list(fleet.models), first.served_model_name) == (["gpt-oss-120b"], "openai/gpt-oss-120b")
        assert fast.served_model_name is None
        assert fleet.aliases["openai/gpt-oss-120b"] == "gpt-oss-120b"
        code, _, err = command("check", "fleet.toml", "--live", first.name, "--json", "live.json")
        assert code == 0, err
        assert "lists openai/gpt-oss-120b" in Path("live.json").read_text()
    finally:
        process.stop()


def test_no_key_is_written_or_said(command: Command, flags: list[str]) -> None:
    _, out, err = command(*flags, "--json", "init.json")
    said = out + err + Path("fleet.toml").read_text() + Path("init.json").read_text()
    assert KEY not in said
    assert 'api_key_env = "CEREBRAS_API_KEY"' in said


def test_a_key_in_place_of_a_name_is_refused_and_not_repeated(command: Command, flags: list[str]) -> None:
    code, out, err = command(*flags[:-1], "sk-live-123")
    assert code == 2
    assert "never the key itself" in err
    assert "sk-live-123" not in out + err
    assert not Path("fleet.toml").exists()


def test_a_variable_that_is_not_set_is_named(command: Command, flags: list[str]) -> None:
    code, _, err = command(*flags[:-1], "NOT_SET_HERE")
    assert (code, "NOT_SET_HERE is not set" in err) == (2, True)


def test_a_file_that_exists_stays(command: Command, flags: list[str]) -> None:
    Path("fleet.toml").write_text("mine")
    code, _, err = command(*flags)
    assert (code, "is there already" in err) == (2, True)
    assert Path("fleet.toml").read_text() == "mine"


def test_without_a_terminal_every_missing_flag_is_named_at_once(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "at_a_terminal", lambda: False)
    code, _, err = command("init")
    assert code == 2
    assert all(flag in err for flag in ("--own", "--on", "--fast"))


def test_a_url_where_nobody_answers_is_named(command: Command, flags: list[str]) -> None:
    flags[flags.index("--own") + 1] = "http://127.0.0.1:9"
    code, _, err = command(*flags)
    assert (code, "--own http://127.0.0.1:9" in err) == (2, True)


def test_at_a_terminal_six_questions_are_asked_and_a_wrong_answer_again(
    command: Command, flags: list[str], urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [urls["own-vllm"], "H100", "H100:8", "2.5", urls["cerebras-1"], "CEREBRAS_API_KEY", ""]
    monkeypatch.setattr(questions, "at_a_terminal", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(answers) + "\n"))
    code, _, err = command("init", "steered.toml", "--fast-dialect", "cerebras")
    assert code == 0, err
    assert "write ACCELERATOR:COUNT" in err
    text = Path("steered.toml").read_text()
    assert "usd_per_accelerator_hour = 2.5" in text
    assert "target = 0.1" in text
