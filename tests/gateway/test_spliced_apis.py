"""Responses, Messages and completions pass as they came where the backend speaks them, on record to the token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateway_rig import LAST, SSE_HEAD, Rig, RunRig, ScriptedBackend, chunk

from headrace.wire import ApiName
from headrace.wire.apis import APIS, PLAIN
from headrace.wire.canonical import Usage

RECORDED = Path(__file__).parents[1] / "wire" / "recorded"
VLLM = {"dialect": "vllm"}


def ask(api: ApiName, **fields: Any) -> bytes:
    body = json.dumps({"model": "m", "stream": True, "max_tokens": 9, **fields}).encode()
    head = b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"
    return head % (APIS[api].path.encode(), len(body)) + body


def usage_of(api: ApiName, stream: bytes) -> Usage:
    events = APIS[api].stream_reader(PLAIN).feed(stream)
    return next(event for event in events if isinstance(event, Usage))


def recorded(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


def pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


@pytest.mark.parametrize("size", [7, 300, 100_000])
@pytest.mark.parametrize("name", ["responses.text", "responses.tools", "messages.text", "messages.tools"])
def test_a_stream_passes_byte_for_byte_and_its_usage_is_in_the_ledger(run_rig: RunRig, name: str, size: int) -> None:
    api: ApiName = "responses" if name.startswith("responses") else "messages"
    stream = recorded(f"{name}.sse")
    backend = ScriptedBackend(SSE_HEAD + chunk(*pieces(stream, size)) + LAST)

    async def scenario(rig: Rig) -> None:
        status, headers, body, complete = await rig.ask(ask(api))
        assert (status, body, complete) == (200, stream, True)
        assert headers[b"content-type"] == b"text/event-stream"

    seen: list[dict[str, Any]] = []

    async def with_ledger(rig: Rig) -> None:
        await scenario(rig)
        await rig.until(lambda: rig.ledger.ended)
        seen.extend(rig.ledger.ended)

    run_rig(with_ledger, backend, settings=[VLLM])
    usage = usage_of(api, stream)
    assert (seen[0]["status"], seen[0]["input_tokens"], seen[0]["output_tokens"]) == ("completed", *usage[:2])


@pytest.mark.parametrize("text_bytes", [100, 600_000])
def test_a_last_event_of_any_length_is_the_end_of_a_response(run_rig: RunRig, text_bytes: int) -> None:
    text = "x" * text_bytes
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    deltas = [
        _event("response.output_text.delta", {"delta": "x" * 50, "item_id": "i"}) for _ in range(text_bytes // 50)
    ]
    output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
    response = {"id": "resp_1", "status": "completed", "output": output, "usage": usage}
    last = _event("response.completed", {"response": response})
    stream = b"".join([*deltas, last])
    whole = SSE_HEAD + chunk(*pieces(stream, 9000)) + LAST
    backend = ScriptedBackend(whole, SSE_HEAD + chunk(*deltas, last[:-40]) + LAST)

    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(ask("responses")))[2:] == (stream, True)
        assert not (await rig.ask(ask("responses")))[3], "its last event was cut off"
        assert [row["status"] for row in rig.ledger.ended] == ["completed", "failed"]
        assert rig.ledger.ended[0]["output_tokens"] == 4

    run_rig(scenario, backend, settings=[VLLM])


def test_a_message_that_never_stops_is_not_whole(run_rig: RunRig) -> None:
    stream = recorded("messages.text.sse")
    cut = stream[: stream.index(b"event: message_delta")]

    async def scenario(rig: Rig) -> None:
        _, _, body, complete = await rig.ask(ask("messages"))
        assert not complete
        assert body.startswith(cut + b"event: error\n")
        assert rig.ledger.ended[0]["status"] == "failed"

    run_rig(scenario, ScriptedBackend(SSE_HEAD + chunk(cut) + LAST), settings=[VLLM])


def test_the_usage_chunk_of_a_completion_is_withheld_where_it_was_not_asked_for(run_rig: RunRig) -> None:
    stream = recorded("completions.text.sse")
    backend = ScriptedBackend(SSE_HEAD + chunk(stream) + LAST)

    async def scenario(rig: Rig) -> None:
        _, _, body, complete = await rig.ask(ask("completions", prompt="x"))
        assert complete
        assert b'"usage":{' not in body
        assert backend.bodies[0]["stream_options"] == {"include_usage": True}
        assert rig.ledger.ended[0]["output_tokens"] == usage_of("completions", stream).output_tokens

    run_rig(scenario, backend, settings=[VLLM])


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())
