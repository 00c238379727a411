"""Coding tools do a task: a scripted model asks for their tools, and a file on the disk is really changed.

With each of them, too: a stream that breaks once is noticed, and one that breaks every time does not end as an answer.
A `polite` end, without an error of HTTP's, is what four clients took for a whole answer before there was a headrace.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rig import KEY, ONLY_MESSAGES, PASSED, PROXIES, Client

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
        attempts: attempts that the task takes, at least; the tool may ask for a title besides.
        gives_up: how it ends when every stream breaks: its exit code, and what it says.
    """

    client: str
    models: tuple[str, str]
    start: Callable[[Client, str, str, Path, Path], tuple[list[str], dict[str, str]]]
    script: Callable[[str, Path], list[dict[str, Any]]]
    attempts: int
    workload_class: str = "coding"


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


def aider(client: Client, url: str, model: str, home: Path, work: Path) -> tuple[list[str], dict[str, str]]:
    (work / MADE).write_text("one\n")
    quiet = ("--no-git", "--no-analytics", "--no-check-update", "--no-show-model-warnings", "--no-show-release-notes")
    how = ("--yes-always", "--no-pretty", "--edit-format", "whole", "--map-tokens", "0")
    command = [client.binary("aider"), "--model", f"openai/{model}", *quiet, *how, "--message", TASK, MADE]
    return command, {"OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": KEY}


TOOLS = {
    "codex": Tool("codex", ("gpt-5.5", "gpt-5.6-sol"), codex, codex_script, 4),
    "claude-code": Tool("claude-code", ("claude-opus-4-6", "claude-sonnet-4-6"), claude, claude_script, 4),
    "opencode": Tool(
        "opencode",
        (PASSED, ONLY_MESSAGES),
        opencode,
        lambda model, work: [{"text": "I make it.", "calls": [{"name": "bash", "arguments": WRITE}]}, ANSWER],
        2,
    ),
    "qwen-code": Tool(
        "qwen-code",
        (PASSED, ONLY_MESSAGES),
        qwen,
        lambda model, work: [
            {"text": "It begins with a turn of the model's."},
            {"calls": [{"name": "run_shell_command", "arguments": {**WRITE, "is_background": False}}]},
            ANSWER,
        ],
        2,
    ),
    "aider": Tool(
        "aider",
        (PASSED, ONLY_MESSAGES),
        aider,
        lambda model, work: [{"text": f"{MADE}\n```\ntwo\n```\n"}],
        1,
        "chat",
    ),
}
