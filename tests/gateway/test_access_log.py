"""The access log of a live gateway: one line a request, however it ended, and nothing that is nobody's business."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from gateway_rig import STREAM, WHOLE, Rig, RunRig, ScriptedBackend, error_response, post

from headrace.fleet import LogFormat, TelemetrySettings

SECRET, PROMPT = "client-key-5f2c", "a prompt that is nobody else's business"
KEY = b"authorization: Bearer %b\r\n" % SECRET.encode()
ASKED = {"messages": [{"role": "user", "content": PROMPT}]}


def lines_of(path: Path, run_rig: RunRig, scenario: Any, *backends: Any, form: LogFormat = LogFormat.JSON) -> list[str]:
    settings = TelemetrySettings(log_format=form, access_log=True, access_log_file=str(path))
    run_rig(scenario, *backends, telemetry=settings)
    return path.read_text().splitlines()


def test_each_request_has_a_line_however_it_ends(run_rig: RunRig, tmp_path: Path) -> None:
    ids: list[str] = []

    async def scenario(rig: Rig) -> None:
        for fields in ({"stream": True}, {}, {"model": "nobody"}):
            status, headers, _, _ = await rig.ask(post(KEY, **ASKED | fields))
            ids.append(headers.get(b"x-headrace-request-id", b"").decode())
        assert status == 404
        _, writer = await rig.send(post(KEY, **ASKED, stream=True))
        await rig.until(lambda: rig.gateway.gateway.requests_live)
        writer.close()
        await rig.until(lambda: not rig.gateway.gateway.requests_live)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    backends = ScriptedBackend(error_response(500)), ScriptedBackend(STREAM, WHOLE, silent)
    lines = lines_of(tmp_path / "log", run_rig, scenario, *backends)
    text = "\n".join(lines)
    for private in (SECRET, PROMPT, "backend-secret"):
        assert private not in text
    stream, whole, refused, left = map(json.loads, lines)
    assert (stream["request_id"], whole["request_id"], refused["request_id"]) == tuple(ids)
    for line in (stream, whole):
        assert (line["status"], line["outcome"], line["attempts"], line["backend"]) == (200, "completed", 2, "b1")
        assert (line["class"], line["tenant"], line["model"], line["api"]) == ("chat", "default", "m", "chat")
        assert (line["input_tokens"], line["output_tokens"]) == (12, 5)
        assert line["usd"] > 0.0
        assert line["e2e_s"] > 0.0
    assert 0.0 < stream["ttft_s"] <= stream["e2e_s"]
    assert whole["ttft_s"] is None
    assert (refused["status"], refused["outcome"], refused["attempts"]) == (404, "refused", 0)
    assert (left["status"], left["outcome"], left["attempts"]) == (0, "cancelled", 2)


def test_people_read_the_same(run_rig: RunRig, tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask(post())

    (line,) = lines_of(tmp_path / "log", run_rig, scenario, ScriptedBackend(WHOLE), form=LogFormat.HUMAN)
    time, _, status, outcome, *pairs = line.split(" ")
    said = dict(pair.split("=") for pair in pairs)
    assert (time[-1], status, outcome) == ("Z", "200", "completed")
    assert (said["backend"], said["in"], said["out"], said["attempts"]) == ("b0", "12", "5", "1")


def test_without_it_nothing_is_kept_of_a_request(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask(post())
        assert rig.gateway.gateway.telemetry.recorder is None

    run_rig(scenario, ScriptedBackend(WHOLE))
