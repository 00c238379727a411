"""A real Codex CLI does a task of several turns over a WebSocket, in front of a backend that knows chat alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import uvloop
from emulated_rig import MODEL, emulated

from headrace.gateway.responses_socket import ResponsesSocket

CODEX = os.environ.get("HEADRACE_CODEX") or shutil.which("codex")
SCRIPT = [
    {"calls": [{"name": "exec_command", "arguments": {"cmd": "printf 'one\\n' > made.txt"}}]},
    {"calls": [{"name": "exec_command", "arguments": {"cmd": "printf 'two\\n' > made.txt"}}]},
    {"text": "It says two."},
]
CONFIG = """model = "{model}"
model_provider = "headrace"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.headrace]
name = "headrace"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
env_key = "HEADRACE_KEY"
supports_websockets = true
"""


@pytest.mark.clients
@pytest.mark.usefixtures("backends_of_one_api")
@pytest.mark.skipif(CODEX is None, reason="the Codex CLI is not installed: npm install -g @openai/codex")
def test_codex_completes_a_task_over_a_websocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    messages: list[dict[str, Any]] = []
    on_text = ResponsesSocket.on_text

    def noted(self: ResponsesSocket, message: bytes) -> None:
        messages.append(json.loads(message))
        on_text(self, message)

    monkeypatch.setattr(ResponsesSocket, "on_text", noted)

    async def run() -> str:
        async with emulated("only-chat", script=SCRIPT) as live:
            (home / "config.toml").write_text(CONFIG.format(model=MODEL, port=live.gateway.port))
            process = await asyncio.create_subprocess_exec(
                str(CODEX),
                *("exec", "--skip-git-repo-check", "--json", "Make made.txt say two."),
                cwd=work,
                env={**os.environ, "CODEX_HOME": str(home), "HEADRACE_KEY": "x"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out, _ = await asyncio.wait_for(process.communicate(), 120)
            assert process.returncode == 0, out
            assert [attempt["class"] for attempt in live.ledger.ended] == ["coding"] * 3
            return out.decode()

    said = uvloop.run(run())
    assert (work / "made.txt").read_text() == "two\n"
    assert "It says two." in said
    generated = [message for message in messages if message.get("generate") is not False]
    assert len(generated) == 3, "every turn came over the connection"
    assert all(message["previous_response_id"] for message in generated[1:]), "and went on from the one before"
