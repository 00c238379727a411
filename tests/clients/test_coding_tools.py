"""Coding tools do a task: a scripted model asks for their tools, and a file on the disk is really changed.

The same task again with a backend whose first stream breaks: none of them may take the piece for the whole. What passes
breaks politely, as if all were well, which some clients believe where no gateway is between.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rig import KEY, ONLY_MESSAGES, PASSED, PROXIES, Client, Ended, Served, run

from headrace.ledger import Entry

TASK = "Make made.txt say two."
MADE = "made.txt"
DONE = "It says two, as was asked for, in one line."
WRITE = {"command": f"printf 'two\\n' > {MADE}", "description": "Writes it."}
ANSWER = {"text": DONE}


class Tool(NamedTuple):
    """How a coding tool is set up and run, and what it is asked to do.

    Attributes:
        models: what it is pointed at: a name that passes and one that is translated.
        start: writes its configuration and gives command and environment; takes the URL, model, home and work folder.
        script: the model's turns, given the model and the work folder.
        attempts: attempts that the task takes, at least: a tool may ask for a title besides.
        at_once: requests that it sends together at its beginning.
        asks_again: it sends a request again whose answer broke.
    """

    models: tuple[str, str]
    start: Callable[[Client, str, str, Path, Path], tuple[list[str], dict[str, str]]]
    script: Callable[[str, Path], list[dict[str, Any]]]
    attempts: int
    at_once: int = 1
    asks_again: bool = True
    workload_class: str = "coding"
    says: str = DONE


def codex(client: Client, url: str, model: str, home: Path, work: Path) -> tuple[list[str], dict[str, str]]:
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(
        f"""model = "{model}"
model_provider = "headrace"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.headrace]
name = "headrace"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "HEADRACE_KEY"
"""
    )
    return [client.binary("codex"), "exec", "--skip-git-repo-check", "--json", TASK], {"HEADRACE_KEY": KEY}


def codex_script(model: str, work: Path) -> list[dict[str, Any]]:
    """Commands and a patch; the newer model has both inside of one tool that takes programs."""
    patch = f"*** Begin Patch\n*** Update File: {MADE}\n@@\n-one\n+two\n*** End Patch"
    make, read = f"printf 'one\\n' > {MADE}", f"cat {MADE}"
    if model == "gpt-5.5":
        patching = {"name": "apply_patch", "input": patch}
        commands = [{"name": "exec_command", "arguments": {"cmd": command}} for command in (make, read)]
    else:
        patching = {"name": "exec", "input": f"text(await tools.apply_patch({json.dumps(patch)}))"}
        called = [f"text(await tools.exec_command({json.dumps({'cmd': command})}))" for command in (make, read)]
        commands = [{"name": "exec", "input": program} for program in called]
    turns: list[dict[str, Any]] = [{"reasoning": "I make it.", "calls": [commands[0]]}]
    return [*turns, {"calls": [patching]}, {"calls": [commands[1]]}, ANSWER]


def claude(client: Client, url: str, model: str, home: Path, work: Path) -> tuple[list[str], dict[str, str]]:
    options = ("--model", model, "--dangerously-skip-permissions", "--output-format", "json")
    environment = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY, "IS_SANDBOX": "1"}
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    return [client.binary("claude"), "-p", *options, TASK], environment | quiet


def claude_script(model: str, work: Path) -> list[dict[str, Any]]:
    made = str(work / MADE)
    make = {"command": f"printf 'one\\n' > {MADE}", "description": "Writes it."}
    return [
        {"text": "I make it.", "calls": [{"name": "Bash", "arguments": make}]},
        {"calls": [{"name": "Read", "arguments": {"file_path": made}}]},
        {"calls": [{"name": "Edit", "arguments": {"file_path": made, "old_string": "one", "new_string": "two"}}]},
        ANSWER,
    ]


def opencode(client: Client, url: str, model: str, home: Path, work: Path) -> tuple[list[str], dict[str, str]]:
    options = {"baseURL": f"{url}/v1", "apiKey": KEY}
    provider = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {model: {"name": model}}}
    settings = {"model": f"headrace/{model}", "provider": {"headrace": provider}, "permission": "allow"}
    (work / "opencode.json").write_text(json.dumps({**settings, "autoupdate": False, "share": "disabled"}))
    quiet = dict.fromkeys(("OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_DEFAULT_PLUGINS"), "1")
    return [client.binary("opencode"), "run", "--format", "json", TASK], quiet


def qwen(client: Client, url: str, model: str, home: Path, work: Path) -> tuple[list[str], dict[str, str]]:
    (home / ".qwen").mkdir()
    (home / ".qwen" / "settings.json").write_text('{"privacy": {"usageStatisticsEnabled": false}}')
    environment = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY, "OPENAI_MODEL": model}
    direct = dict.fromkeys(PROXIES, "")  # it would ask the proxy for this machine, too
    return [
        client.binary("qwen"),
        "--auth-type",
        "openai",
        "--yolo",
        "--telemetry=false",
        "-p",
        TASK,
    ], environment | direct


def qwen_script(model: str, work: Path) -> list[dict[str, Any]]:
    """A conversation of its begins with a turn of the model's that no model has spoken."""
    return [ANSWER, *writes("run_shell_command", is_background=False)]


def aider(client: Client, url: str, model: str, home: Path, work: Path) -> tuple[list[str], dict[str, str]]:
    (work / MADE).write_text("one\n")
    quiet = ("--no-git", "--no-analytics", "--no-check-update", "--no-show-model-warnings", "--no-show-release-notes")
    how = ("--yes-always", "--no-pretty", "--edit-format", "whole", "--map-tokens", "0")
    command = [client.binary("aider"), "--model", f"openai/{model}", *quiet, *how, "--message", TASK, MADE]
    return command, {"OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": KEY}


def aider_script(model: str, work: Path) -> list[dict[str, Any]]:
    return [{"text": f"{MADE}\n```\ntwo\n```\n"}]


def writes(tool: str, **more: Any) -> list[dict[str, Any]]:
    """Turns of a model that writes the file at once."""
    return [{"text": "I make it.", "calls": [{"name": tool, "arguments": {**WRITE, **more}}]}, ANSWER]


TOOLS = {
    "codex": Tool(("gpt-5.5", "gpt-5.6-sol"), codex, codex_script, 4),
    "claude-code": Tool(("claude-opus-4-6", "claude-sonnet-4-6"), claude, claude_script, 4),
    "opencode": Tool((PASSED, ONLY_MESSAGES), opencode, lambda model, work: writes("bash"), 2, at_once=2),
    "qwen-code": Tool((PASSED, ONLY_MESSAGES), qwen, qwen_script, 2, asks_again=False),
    "aider": Tool((PASSED, ONLY_MESSAGES), aider, aider_script, 1, workload_class="chat", says="Applied edit"),
}
EVERY = [(name, model) for name, tool in TOOLS.items() for model in tool.models]


def use(name: str, model: str, running: Served, home: Path, *faults: str) -> tuple[Ended, str | None, list[Entry]]:
    """How the tool ended, what the file says then, and what was asked of backends."""
    tool, client, work = TOOLS[name], Client(name), home.parent / "work"
    work.mkdir()
    running.say(*tool.script(model, work))
    running.go_wrong(*faults)
    command, environment = tool.start(client, running.url, model, home, work)
    ended = run(command, home=home, work=work, **environment)
    made = work / MADE
    return ended, made.read_text() if made.exists() else None, running.attempts()


@pytest.mark.parametrize(("name", "model"), EVERY)
def test_does_its_task(running: Served, home: Path, name: str, model: str) -> None:
    ended, made, attempts = use(name, model, running, home)
    assert (ended.code, made) == (0, "two\n"), ended
    assert TOOLS[name].says in ended.out
    assert len(attempts) >= TOOLS[name].attempts
    assert {(each.status, each.workload_class) for each in attempts} == {("completed", TOOLS[name].workload_class)}
    at = "every-api" if model == TOOLS[name].models[0] else "only-"
    assert all(each.backend.startswith(at) for each in attempts)


@pytest.mark.parametrize(("name", "model"), EVERY)
def test_notices_a_stream_that_breaks(running: Served, home: Path, name: str, model: str) -> None:
    tool = TOOLS[name]
    fault = "polite@1" if model == tool.models[0] else "cut@1"
    ended, made, attempts = use(name, model, running, home, *[fault] * tool.at_once)
    assert sum(each.status == "failed" for each in attempts) >= tool.at_once
    if tool.asks_again:
        assert (ended.code, made) == (0, "two\n"), ended
        assert tool.says in ended.out
    else:
        assert (ended.code, made) == (1, None), ended
        assert "API Error" in ended.err


def test_codex_gives_up_where_every_stream_breaks(running: Served, home: Path) -> None:
    ended, made, attempts = use("codex", TOOLS["codex"].models[0], running, home, *["polite@1"] * 10)
    assert (ended.code, made) == (1, None)
    assert "turn.failed" in ended.out
    assert len(attempts) == 6, "once, and five times again"
