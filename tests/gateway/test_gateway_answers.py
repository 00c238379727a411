"""What a client gets, and what backend, engine and ledger see of it, when all goes well."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json

import pytest
from gateway_rig import (
    COMPLETION,
    FINISH,
    JSON,
    LAST,
    ROLE,
    SSE_HEAD,
    STREAM,
    TOKENS,
    USAGE,
    WHOLE,
    Rig,
    RunRig,
    ScriptedBackend,
    chunk,
    post,
    read_answer,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.gateway.attempt import Attempt
from headrace.gateway.request import GatewayRequest
from headrace.policy import Arrived, Finished, FirstToken
from headrace.wire import DONE


def test_a_whole_answer_is_passed_on_with_what_was_decided(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        status, headers, body, _ = await rig.ask(post(max_tokens=50))
        assert (status, body) == (200, COMPLETION)
        assert headers[b"x-headrace-backend"] == b"b0"
        assert headers[b"x-headrace-class"] == b"chat"
        assert headers[b"x-headrace-request-id"].endswith(b"-1")
        assert rig.engine.of(Finished)[0].output_tokens == 5
        (entry,) = rig.ledger.ended
        assert (entry["status"], entry["backend"], entry["class"]) == ("completed", "b0", "chat")
        assert (entry["input_tokens"], entry["output_tokens"], entry["reserved_output_tokens"]) == (12, 5, 50)

    run_rig(scenario, ScriptedBackend(WHOLE))


def test_usage_that_only_headrace_asked_for_is_withheld(run_rig: RunRig) -> None:
    backend = ScriptedBackend(STREAM)

    async def scenario(rig: Rig) -> None:
        status, headers, body, complete = await rig.ask(post(stream=True))
        assert (status, headers[b"content-type"], complete) == (200, b"text/event-stream", True)
        assert body == ROLE + b"".join(TOKENS) + FINISH + DONE
        assert backend.bodies[0]["stream_options"] == {"include_usage": True}
        assert [type(event) for event in rig.engine.events] == [Arrived, FirstToken, Finished]
        finished = rig.engine.of(Finished)[0]
        assert (finished.input_tokens, finished.output_tokens, finished.cached_input_tokens) == (12, 5, 3)
        assert rig.ledger.ended[0]["cached_input_tokens"] == 3

    run_rig(scenario, backend)


def test_usage_that_the_client_asked_for_is_passed_on_and_still_read(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        _, _, body, complete = await rig.ask(post(stream=True, stream_options={"include_usage": True}))
        assert body == ROLE + b"".join(TOKENS) + FINISH + USAGE + DONE
        assert complete
        assert rig.engine.of(Finished)[0].output_tokens == 5

    run_rig(scenario, ScriptedBackend(STREAM))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunk_cuts=st.lists(st.integers(0, 3000), max_size=6),
    block_cuts=st.lists(st.integers(0, 4000), max_size=6),
    asks=st.booleans(),
)
def test_stream_bytes_out_are_bytes_in_however_they_are_cut(
    run_rig: RunRig, chunk_cuts: list[int], block_cuts: list[int], asks: bool
) -> None:
    payload = ROLE + b"".join(TOKENS * 3) + FINISH + USAGE + DONE
    wire = SSE_HEAD + chunk(*cut(payload, chunk_cuts)) + LAST

    async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for block in cut(wire, block_cuts):
            writer.write(block)
            await asyncio.sleep(0.0005)
        await reader.read()

    async def scenario(rig: Rig) -> None:
        fields = {"stream_options": {"include_usage": True}} if asks else {}
        _, _, body, complete = await rig.ask(post(stream=True, **fields))
        assert complete
        assert body == (payload if asks else payload.replace(USAGE, b""))
        assert rig.ledger.ended[0]["output_tokens"] == 5

    run_rig(scenario, ScriptedBackend(in_pieces))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(marks)]


def test_a_backend_sees_its_own_key_and_only_the_headers_meant_for_it(run_rig: RunRig) -> None:
    backend = ScriptedBackend(WHOLE)

    async def scenario(rig: Rig) -> None:
        await rig.ask(
            post(
                b"authorization: Bearer client-secret\r\ncookie: c=1\r\nconnection: keep-alive, x\r\n"
                b"traceparent: 00-ab\r\nx-headrace-emulated-output-tokens: 7\r\n"
            )
        )
        head = backend.heads[0]
        assert head.startswith(b"POST /base/v1/chat/completions HTTP/1.1\r\n")
        assert b"authorization: Bearer backend-secret\r\n" in head
        assert b"traceparent: 00-ab\r\nx-headrace" in head or b"x-headrace-emulated-output-tokens: 7\r\n" in head
        for absent in (b"client-secret", b"cookie", b"keep-alive"):
            assert absent not in head

    run_rig(scenario, backend)


@pytest.mark.parametrize(
    ("headers", "model", "workload_class"),
    [
        (b"", "m", b"chat"),
        (b"x-headrace-class: coding\r\n", "m", b"coding"),
        (b"x-app: ide\r\n", "m", b"coding"),
        (b"authorization: Bearer coder-key\r\n", "m", b"coding"),
        (b"authorization: Bearer other\r\n", "m", b"chat"),
        (b"", "fast-m", b"coding"),
        (b"x-headrace-class: chat\r\nx-app: ide\r\n", "fast-m", b"chat"),
    ],
)
def test_a_request_is_recognised(run_rig: RunRig, headers: bytes, model: str, workload_class: bytes) -> None:
    backend = ScriptedBackend(WHOLE)

    async def scenario(rig: Rig) -> None:
        _, answer_headers, _, _ = await rig.ask(post(headers, model=model))
        assert answer_headers[b"x-headrace-class"] == workload_class
        assert backend.bodies[0]["model"] == "m"  # an alias is ours, not the backend's

    run_rig(scenario, backend)


def test_pipelined_and_chunked_requests_are_answered_in_order(run_rig: RunRig) -> None:
    body = b'{"model":"m","messages":[]}'
    chunked = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
        + chunk(body[:9], body[9:])
        + LAST
    )

    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.send(post(stream=True) + chunked + b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n")
        assert (await read_answer(reader))[2].endswith(DONE)
        assert (await read_answer(reader))[2] == COMPLETION
        assert json.loads((await read_answer(reader))[2])["data"][0]["id"] == "m"
        writer.close()

    run_rig(scenario, ScriptedBackend(STREAM, WHOLE))


def test_the_input_estimate_learns_from_usage(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(20):
            await rig.ask(post(messages=[{"role": "user", "content": "x" * 1170}]))
        first, *_, last = rig.engine.of(Arrived)
        assert first.input_tokens > 250
        assert 12 < last.input_tokens < first.input_tokens

    run_rig(scenario, ScriptedBackend(WHOLE))


def test_a_large_answer_is_handed_on_whole(run_rig: RunRig) -> None:
    big = COMPLETION.replace(b'"hi"', b'"' + b"x" * 3_000_000 + b'"')
    response = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (JSON, len(big), big)

    async def scenario(rig: Rig) -> None:
        status, _, body, complete = await rig.ask(post())
        assert (status, complete, body == big) == (200, True, True)
        assert rig.ledger.ended[0]["output_tokens"] == 5

    run_rig(scenario, ScriptedBackend(response))


def test_requests_leave_no_cycles_behind(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        gc.collect()
        gc.disable()
        try:
            for step in range(6):
                await rig.ask(post(stream=step % 2 == 0))
            left = [thing for thing in gc.get_objects() if isinstance(thing, GatewayRequest | Attempt)]
            assert left == []
        finally:
            gc.enable()

    run_rig(scenario, ScriptedBackend(STREAM, WHOLE, STREAM, WHOLE, STREAM, WHOLE))


def test_metrics_state_health_and_models_are_served(run_rig: RunRig) -> None:
    async def get(rig: Rig, path: bytes, port: int | None = None, method: bytes = b"GET") -> tuple[int, bytes]:
        data = b"%b %b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n" % (method, path)
        status, _, body, _ = await rig.ask(data, port)
        return status, body

    async def scenario(rig: Rig) -> None:
        await rig.ask(post(stream=True))
        admin = rig.gateway.admin_port
        assert (await get(rig, b"/health"))[0] == 200
        assert [m["id"] for m in json.loads((await get(rig, b"/v1/models"))[1])["data"]] == ["m", "fast-m"]
        text = (await get(rig, b"/metrics"))[1].decode()
        assert 'headrace_requests_total{class="chat",outcome="completed"} 1\n' in text
        assert 'headrace_attempts_total{backend="b0",outcome="completed"} 1\n' in text
        assert 'headrace_output_tokens_total{backend="b0"} 5\n' in text
        assert 'headrace_time_to_first_token_seconds_count{class="chat",pool="p0",tenant="default"} 1\n' in text
        assert 'headrace_limit{limit="max_body_bytes"}' in text
        state = json.loads((await get(rig, b"/admin/state", admin))[1])
        assert state["engine"]["policy"] == "first_free"
        assert "active=0 connecting=0 waiting=0" in state["pools"]["b0"]
        assert (await get(rig, b"/admin/state"))[0] == 404  # operators only
        assert (await get(rig, b"/elsewhere", admin))[0] == 404

    run_rig(scenario, ScriptedBackend(STREAM))


def test_every_event_and_its_actions_are_journalled_in_order(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask(post(stream=True))
        assert [entry[1] for entry in rig.journal] == rig.engine.events
        times = [entry[0] for entry in rig.journal]
        assert times == sorted(times)

    run_rig(scenario, ScriptedBackend(STREAM))
