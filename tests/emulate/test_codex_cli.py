"""A real Codex CLI does a task of several turns against a scripted model: commands, a patch, and an answer."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
import uvloop
from dialect_rig import BACKEND, fleet_of

from headrace.emulate import EmulatedBackend, read_script
from headrace.http import HttpLimits, serve
from headrace.modelserver import model_server
from headrace.perf import speed_curve

CODEX = os.environ.get("HEADRACE_CODEX") or shutil.which("codex")
MODEL = "gpt-5.5"  # one of those to which Codex 0.169 offers its freeform apply_patch
SCRIPT = rb"""[
  {"reasoning": "I make it.", "calls": [{"name": "exec_command", "arguments": {"cmd": "printf 'one\\n' > made.txt"}}]},
  {"calls": [{"name": "apply_patch",
              "input": "*** Begin Patch\n*** Update File: made.txt\n@@\n-one\n+two\n*** End Patch"}]},
  {"calls": [{"name": "exec_command", "arguments": {"cmd": "cat made.txt"}}]},
  {"text": "It says two."}
]"""
CONFIG = """model = "{model}"
model_provider = "emulated"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.emulated]
name = "emulated"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
env_key = "EMULATED_KEY"
"""


@pytest.mark.skipif(CODEX is None, reason="the Codex CLI is not installed: npm install -g @openai/codex")
def test_codex_completes_a_task_with_commands_and_a_patch(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()

    async def run() -> str:
        fleet = fleet_of("vllm")
        deployment = next(iter(fleet.pools.values())).deployment
        clock = asyncio.get_running_loop().time
        started_s = clock()
        server = model_server(speed_curve(deployment), deployment, 0, BACKEND)
        backend = EmulatedBackend(BACKEND, MODEL, server, 0, lambda: clock() - started_s)
        backend.desk.script = read_script(SCRIPT)
        listener = await serve(backend.handle, "127.0.0.1", 0, HttpLimits())
        (home / "config.toml").write_text(CONFIG.format(model=MODEL, port=listener.port))
        process = await asyncio.create_subprocess_exec(
            str(CODEX),
            *("exec", "--skip-git-repo-check", "--json", "Make made.txt say two."),
            cwd=work,
            env={**os.environ, "CODEX_HOME": str(home), "EMULATED_KEY": "x"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 120)
        backend.close()
        await listener.close()
        assert process.returncode == 0, out
        return out.decode()

    said = uvloop.run(run())
    assert (work / "made.txt").read_text() == "two\n"
    assert "It says two." in said
