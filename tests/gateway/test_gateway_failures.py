"""Backends that fail and clients that leave: another backend answers, or the client sees that the answer is cut."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from gateway_rig import (
    COMPLETION,
    DONE,
    FINISH,
    JSON,
    LAST,
    ROLE,
    SSE,
    SSE_HEAD,
    STREAM,
    TOKENS,
    WHOLE,
    Rig,
    RunRig,
    ScriptedBackend,
    chunk,
    error_response,
    post,
    raw_post,
)

from headrace.fleet import Limits
from headrace.gateway.driver import MAX_UNWRITTEN_BYTES
from headrace.policy import AttemptFailed, ClientGone, FailureKind, Finished, RejectReason

FAILURES = [
    (None, FailureKind.RESET),
    (b"HTTP/1.1 200 OK\r\n", FailureKind.RESET),
    (b"\x00\x01garbage\r\n\r\n", FailureKind.GARBAGE),
    (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\nhtml", FailureKind.GARBAGE),
    (b"HTTP/1.1 200 OK\r\n" + JSON + b"content-length: 4\r\n\r\nhtml", FailureKind.GARBAGE),
    (b"HTTP/1.1 200 OK\r\n" + JSON + b"content-length: 90\r\n\r\n{", FailureKind.RESET),
    (b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", FailureKind.GARBAGE),
    (SSE_HEAD, FailureKind.RESET),
    (SSE_HEAD + chunk(ROLE), FailureKind.RESET),
    (SSE_HEAD + chunk(ROLE) + LAST, FailureKind.GARBAGE),
    (SSE_HEAD + chunk(b": ping\n\n", b'data: {"error":{"message":"m"}}\n\n') + LAST, FailureKind.GARBAGE),
    (SSE_HEAD + chunk(b'data: {"error":{"message":"m"}}\n\n', DONE) + LAST, FailureKind.SERVER_ERROR),
    (SSE_HEAD + b"zz\r\n", FailureKind.GARBAGE),
    (error_response(500), FailureKind.SERVER_ERROR),
    (error_response(504), FailureKind.SERVER_ERROR),
    (error_response(429), FailureKind.OVERLOADED),
    (error_response(408), FailureKind.OVERLOADED),
    (error_response(498), FailureKind.OVERLOADED),
    (error_response(503), FailureKind.OVERLOADED),
    (error_response(529), FailureKind.OVERLOADED),
]


def ending(answer: bytes | None) -> Any:
    """Send this, then close."""

    async def step(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer or b"")

    return step


async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize(("answer", "kind"), FAILURES)
def test_what_fails_before_the_first_token_is_answered_by_another_backend(
    run_rig: RunRig, answer: bytes | None, kind: FailureKind
) -> None:
    async def scenario(rig: Rig) -> None:
        status, headers, body, complete = await rig.ask(post(stream=True))
        assert (status, headers[b"x-headrace-backend"], complete) == (200, b"b1", True)
        assert body == ROLE + b"".join(TOKENS) + FINISH + DONE
        (failed,) = rig.engine.of(AttemptFailed)
        assert (failed.kind, failed.committed, failed.output_tokens) == (kind, False, 0)
        assert [entry["status"] for entry in rig.ledger.ended] == ["failed", "completed"]

    run_rig(scenario, ScriptedBackend(ending(answer)), ScriptedBackend(STREAM))


def test_a_backend_that_refuses_connections_is_passed_over(run_rig: RunRig, dead_port: int) -> None:
    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post()))[2] == COMPLETION
        assert rig.engine.of(AttemptFailed)[0].kind is FailureKind.REFUSED

    run_rig(scenario, dead_port, ScriptedBackend(WHOLE))


def test_what_a_backend_says_about_when_to_come_back_reaches_the_engine(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask(post())
        assert rig.engine.of(AttemptFailed)[0].retry_after_s == 7.0

    run_rig(scenario, ScriptedBackend(error_response(429, b"retry-after: 7\r\n")), ScriptedBackend(WHOLE))


def test_with_no_backend_left_the_client_is_told_when_to_ask_again(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        status, headers, body, _ = await rig.ask(post())
        assert (status, headers[b"retry-after"]) == (503, b"2")
        assert json.loads(body)["error"]["code"] == "overloaded"

    run_rig(scenario, ScriptedBackend(error_response(500)), ScriptedBackend(None))


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (RejectReason.QUEUE_FULL, 429),
        (RejectReason.QUEUE_TIMEOUT, 503),
        (RejectReason.NO_BACKEND, 503),
        (RejectReason.NO_ROUTE, 404),
    ],
)
def test_each_rejection_has_its_status(run_rig: RunRig, reason: RejectReason, status: int) -> None:
    async def scenario(rig: Rig) -> None:
        rig.engine.reject_with = reason
        assert (await rig.ask(post()))[0] == status

    run_rig(scenario, ScriptedBackend(WHOLE))


def test_what_a_backend_says_about_the_request_itself_is_the_answer(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        status, headers, body, _ = await rig.ask(post())
        assert (status, headers[b"x-headrace-backend"]) == (400, b"b0")
        assert json.loads(body)["error"]["message"] == "theirs"
        assert (rig.engine.of(Finished)[0].output_tokens, rig.engine.of(AttemptFailed)) == (0, [])

    run_rig(scenario, ScriptedBackend(error_response(400)), ScriptedBackend(WHOLE))


@pytest.mark.parametrize(
    "answer",
    [
        SSE_HEAD + chunk(ROLE, *TOKENS),
        SSE_HEAD + chunk(ROLE, *TOKENS) + b"5\r\nda",
        SSE_HEAD + chunk(ROLE, *TOKENS) + LAST,
        SSE_HEAD + chunk(ROLE, *TOKENS, DONE) + LAST,
        SSE_HEAD + chunk(ROLE, *TOKENS) + b"zz\r\n",
        SSE_HEAD + chunk(ROLE, *TOKENS, FINISH),
        SSE_HEAD + chunk(ROLE, *TOKENS, FINISH, b'data: {"error":{"message":"m"}}\n\n', DONE) + LAST,
        b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n" + ROLE + b"".join(TOKENS),
        b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n" + ROLE + b"".join(TOKENS) + FINISH,
    ],
)
@pytest.mark.parametrize("asks", [False, True])
def test_an_answer_that_breaks_after_its_first_token_never_looks_complete(
    run_rig: RunRig, answer: bytes, asks: bool
) -> None:
    async def scenario(rig: Rig) -> None:
        fields = {"stream_options": {"include_usage": True}} if asks else {}
        status, _, body, complete = await rig.ask(post(stream=True, **fields))
        assert status == 200
        assert not complete
        assert body.startswith(ROLE + b"".join(TOKENS))  # what had come was handed on
        (failed,) = rig.engine.of(AttemptFailed)
        assert (failed.committed, failed.output_tokens) == (True, 5)
        (entry,) = rig.ledger.ended
        assert (entry["status"], entry["delivered_output_tokens"]) == ("failed", 5)
        assert not rig.engine.of(Finished)

    run_rig(scenario, ScriptedBackend(ending(answer)), ScriptedBackend(STREAM))


def test_a_stream_until_close_is_complete_if_it_says_so(run_rig: RunRig) -> None:
    payload = ROLE + b"".join(TOKENS) + FINISH + DONE

    async def scenario(rig: Rig) -> None:
        _, _, body, complete = await rig.ask(post(stream=True))
        assert (body, complete) == (payload, True)
        assert rig.ledger.ended[0]["delivered_output_tokens"] == 5  # no usage came: what was counted

    run_rig(scenario, ScriptedBackend(ending(b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n" + payload)))


def test_a_client_that_leaves_cancels_its_attempt_and_the_ledger_holds_what_it_got(run_rig: RunRig) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(ROLE, *TOKENS))
        assert await reader.read() == b""  # the gateway closes its connection: that is how a backend learns of it
        backend.gone.set()

    backend = ScriptedBackend(endless)

    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.send(post(stream=True, max_tokens=100))
        await reader.readuntil(b" t4")
        writer.close()
        await backend.gone.wait()
        assert rig.engine.of(ClientGone)[0].output_tokens == 5
        (entry,) = rig.ledger.ended
        assert (entry["status"], entry["delivered_output_tokens"]) == ("cancelled", 5)
        assert entry["reserved_output_tokens"] == 100

    run_rig(scenario, backend)


def test_a_client_that_leaves_before_any_answer_cancels_too(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        _, writer = await rig.send(post())
        await rig.until(lambda: rig.ledger.open)
        writer.close()
        await rig.until(lambda: rig.ledger.ended)
        assert (rig.ledger.ended[0]["status"], rig.ledger.ended[0]["delivered_output_tokens"]) == ("cancelled", 0)

    run_rig(scenario, ScriptedBackend(stall))


def test_a_stream_that_goes_silent_is_failed_by_the_sweep(run_rig: RunRig) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(ROLE, *TOKENS))
        await reader.read()

    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.send(post(stream=True))
        await reader.readuntil(b" t4")
        for _ in range(4):
            rig.gateway.gateway.sweep(40.0)
            assert not rig.engine.of(AttemptFailed) or _ == 3
        assert rig.engine.of(AttemptFailed)[0].kind is FailureKind.TIMEOUT
        assert not (await reader.read()).endswith(LAST)
        writer.close()

    run_rig(scenario, ScriptedBackend(silent), limits=Limits(idle_timeout_s=120.0))


def test_a_client_that_reads_slowly_slows_its_backend_and_is_not_called_silent(run_rig: RunRig) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        block = chunk(*TOKENS) * 100
        writer.write(SSE_HEAD + chunk(ROLE))
        while sent < 200_000_000:
            writer.write(block)
            sent += len(block)
            await writer.drain()

    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.send(post(stream=True))
        await reader.readuntil(b" t4")
        held = -1
        while held != sent:
            held = sent
            await asyncio.sleep(0.03)
        assert sent < 200_000_000
        for _ in range(10):
            rig.gateway.gateway.sweep(100.0)
        assert not rig.engine.of(AttemptFailed)
        writer.transport.abort()
        await rig.until(lambda: rig.ledger.ended)
        assert rig.ledger.ended[0]["status"] == "cancelled"

    run_rig(scenario, ScriptedBackend(flood))


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (raw_post(b"not json"), 400, None),
        (raw_post(b"{}"), 400, None),
        (post(b"x-headrace-class: nobody\r\n"), 400, None),
        (post(model="gpt-nothing"), 404, "model_not_found"),
        (raw_post(b"x" * 5000), 413, "request_too_large"),
        (b"GET /v1/chat/completions HTTP/1.1\r\nhost: h\r\n\r\n", 405, "method_not_allowed"),
        (b"POST /v1/models HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n", 405, "method_not_allowed"),
        (b"GET /v2 HTTP/1.1\r\nhost: h\r\n\r\n", 404, "unknown_url"),
        (b"nonsense\r\n\r\n", 400, None),
    ],
)
def test_bad_input_is_refused_in_openais_shape_and_reaches_no_engine(
    run_rig: RunRig, request_bytes: bytes, status: int, code: str | None
) -> None:
    async def scenario(rig: Rig) -> None:
        got, headers, body, _ = await rig.ask(request_bytes)
        error = json.loads(body)["error"]
        assert (got, headers[b"content-type"]) == (status, b"application/json")
        assert (error["type"], error["code"]) == ("invalid_request_error", code)
        assert rig.engine.events == []

    run_rig(scenario, ScriptedBackend(WHOLE), limits=Limits(max_body_bytes=4000))


def test_shutdown_lets_a_stream_end(run_rig: RunRig) -> None:
    go_on = asyncio.Event()

    async def in_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(ROLE, *TOKENS))
        await go_on.wait()
        writer.write(chunk(FINISH, DONE) + LAST)

    async def scenario(rig: Rig) -> None:
        reader, _ = await rig.send(post(stream=True))
        await reader.readuntil(b" t4")
        closing = asyncio.ensure_future(rig.gateway.close(5.0))
        await asyncio.sleep(0.01)
        go_on.set()
        assert (await reader.read()).endswith(LAST)
        assert await closing

    run_rig(scenario, ScriptedBackend(in_two))


def test_shutdown_cancels_what_does_not_end_in_time(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        reader, _ = await rig.send(post())
        await rig.until(lambda: rig.ledger.open)
        assert not await rig.gateway.close(0.01)
        assert rig.ledger.ended[0]["status"] == "cancelled"
        assert await reader.read() == b""

    run_rig(scenario, ScriptedBackend(stall))


def test_a_ledger_that_cannot_be_written_holds_nobody_up_until_too_much_waits(
    run_rig: RunRig, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.fault = OSError(28, "No space left on device")
        assert (await rig.ask(post()))[0] == 200
        rig.ledger.waiting_bytes = MAX_UNWRITTEN_BYTES + 1
        status, headers, body, _ = await rig.ask(post())
        assert (status, headers[b"retry-after"]) == (503, b"10")
        assert "the usage ledger cannot be written" in json.loads(body)["error"]["message"]
        rig.ledger.fault, rig.ledger.waiting_bytes = None, 0
        rig.gateway.gateway.sweep(1.0)
        assert (await rig.ask(post()))[0] == 200
        assert rig.gateway.gateway.telemetry.ledger_faults > 0

    run_rig(scenario, ScriptedBackend(WHOLE))
    assert capsys.readouterr().err.count("No space left on device") == 1, "the same fault is told once"
