"""Backends that fail and clients that leave: another backend answers, or the client sees that the answer is cut."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Sequence
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

from headrace import rng
from headrace.errors import InvariantError
from headrace.fleet import Fleet, Limits, LogFormat
from headrace.gateway.books import MAX_UNWRITTEN_BYTES
from headrace.policy import (
    EARLY_S,
    Asking,
    AttemptFailed,
    Candidate,
    ClientGone,
    FailureKind,
    Finished,
    Picker,
    Policy,
    PolicyEngine,
    RejectReason,
    SetTimer,
)
from headrace.telemetry import set_up_logs
from headrace.wire.backend_error import MAX_RETRY_AFTER_S
from headrace.wire.sse import MAX_EVENT_BYTES

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
    (SSE_HEAD + chunk(b": ping\n\n", b'data: {"error":{"message":"m"}}\n\n') + LAST, FailureKind.SERVER_ERROR),
    (SSE_HEAD + chunk(b'data: {"error":{"message":"m"}}\n\n', DONE) + LAST, FailureKind.SERVER_ERROR),
    (SSE_HEAD + b"zz\r\n", FailureKind.GARBAGE),
    (error_response(500), FailureKind.SERVER_ERROR),
    (error_response(504), FailureKind.SERVER_ERROR),
    (error_response(429), FailureKind.OVERLOADED),
    (error_response(408), FailureKind.SERVER_ERROR),
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


def test_an_error_after_the_finish_reason_is_no_end(run_rig: RunRig) -> None:
    seen = asyncio.Event()

    async def step(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(ROLE, *TOKENS))
        await seen.wait()
        writer.write(chunk(FINISH, b'data: {"error":{"message":"m"}}\n\n', DONE) + LAST)

    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.send(post(stream=True))
        await reader.readuntil(b" t4")
        seen.set()
        rest = await reader.read()
        assert b'"error"' in rest
        assert not rest.endswith(LAST)
        assert rig.engine.of(AttemptFailed)[0].committed
        writer.close()

    run_rig(scenario, ScriptedBackend(step), ScriptedBackend(STREAM))


def test_an_error_that_comes_with_the_first_tokens_is_nobody_s_loss(run_rig: RunRig) -> None:
    error = b'data: {"error":{"message":"m","code":"queue_exceeded"},"status_code":429}\n\n'
    broken = chunk(ROLE + b"".join(TOKENS) + error)  # in one piece

    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post(stream=True)))[1][b"x-headrace-backend"] == b"b1"
        (failed,) = rig.engine.of(AttemptFailed)
        assert (failed.kind, failed.committed) == (FailureKind.OVERLOADED, False)

    run_rig(scenario, ScriptedBackend(ending(SSE_HEAD + broken + LAST)), ScriptedBackend(STREAM))


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
        (RejectReason.SHED, 429),
        (RejectReason.BUDGET_SPENT, 429),
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
        b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n" + ROLE + b"".join(TOKENS),
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


@pytest.mark.parametrize(
    "answer",
    [
        SSE_HEAD + chunk(ROLE, *TOKENS, FINISH),
        SSE_HEAD + chunk(ROLE, *TOKENS, FINISH) + b"40\r\ndata: {",
        b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n" + ROLE + b"".join(TOKENS) + FINISH,
    ],
)
def test_an_answer_that_breaks_after_its_finish_reason_lacks_only_its_last_words(
    run_rig: RunRig, answer: bytes
) -> None:
    async def scenario(rig: Rig) -> None:
        _, _, body, complete = await rig.ask(post(stream=True))
        assert (body, complete) == (ROLE + b"".join(TOKENS) + FINISH + DONE, True)
        (entry,) = rig.ledger.ended
        assert (entry["status"], entry["delivered_output_tokens"]) == ("completed", 5)
        assert rig.gateway.gateway.telemetry.counters.rescues == {"ended": 1}

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
        assert rig.engine.of(AttemptFailed)[0].kind is FailureKind.STALLED
        assert not (await reader.read()).endswith(LAST)
        writer.close()

    run_rig(scenario, ScriptedBackend(silent), limits=Limits(stall_timeout_s=120.0))


def test_an_event_without_an_end_is_held_only_so_long(run_rig: RunRig) -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(SSE_HEAD + chunk(ROLE, *TOKENS))
        while sent < 8 * MAX_EVENT_BYTES:
            writer.write(chunk(b"x" * 262_144))
            sent += 262_144
            await writer.drain()

    async def scenario(rig: Rig) -> None:
        _, _, _, complete = await rig.ask(post(stream=True))
        assert not complete
        assert rig.engine.of(AttemptFailed)[0].kind is FailureKind.GARBAGE
        assert sent < 2 * MAX_EVENT_BYTES

    run_rig(scenario, ScriptedBackend(endless))


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
        await rig.until(lambda: any(attempt.held_back for attempt in rig.gateway.gateway._attempts.values()))
        assert sent < 200_000_000
        assert (await rig.ask(post(stream=True)))[0] == 200, "and it holds up nobody else"
        for _ in range(10):
            rig.gateway.gateway.sweep(100.0)
        assert not rig.engine.of(AttemptFailed)
        writer.transport.abort()
        await rig.until(lambda: len(rig.ledger.ended) == 2)
        assert {each["status"] for each in rig.ledger.ended} == {"completed", "cancelled"}

    run_rig(scenario, ScriptedBackend(flood, STREAM))


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
    set_up_logs(LogFormat.HUMAN)

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
        assert rig.gateway.gateway.telemetry.counters.ledger_faults > 0

    run_rig(scenario, ScriptedBackend(WHOLE))
    assert capsys.readouterr().err.count("No space left on device") == 1, "the same fault is told once"


@pytest.mark.parametrize("value", [b"1e999", b"9" * 400, b"nan", b"-5", b"soon"])
def test_no_retry_after_can_lose_a_request_or_silence_a_backend_for_good(run_rig: RunRig, value: bytes) -> None:
    """An infinite pause once broke the answer to the client in the middle, and the journal with it."""
    busy = b"HTTP/1.1 429 Too Many\r\nretry-after: %b\r\ncontent-length: 0\r\n\r\n" % value

    async def scenario(rig: Rig) -> None:
        rig.engine.reject_with = None
        status, _, _, _ = await rig.ask(post())
        assert status == 503
        pause_s = rig.engine.of(AttemptFailed)[0].retry_after_s
        assert pause_s is None or 0.0 <= pause_s <= MAX_RETRY_AFTER_S

    run_rig(scenario, ScriptedBackend(busy))


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_backend_that_refuses_our_key_or_path_has_failed_and_another_answers(run_rig: RunRig, status: int) -> None:
    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post()))[2] == COMPLETION
        assert [event.kind for event in rig.engine.of(AttemptFailed)] == [FailureKind.MISCONFIGURED]

    run_rig(scenario, ScriptedBackend(error_response(status)), ScriptedBackend(WHOLE))


DEEP = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":%b}' % DEEP,
        b'{"model":"fast-m","messages":%b}' % DEEP,
        b'{"model":"fast-m","\xff":1}',
        b'{"model":"fast-m","a\\ud800":1}',
        b'{"model":"m","stream":true,"stream_options":{},"\xff":1}',
    ],
)
def test_a_body_that_cannot_be_read_is_refused_and_not_dropped(run_rig: RunRig, body: bytes) -> None:
    async def scenario(rig: Rig) -> None:
        status, _, answer, _ = await rig.ask(raw_post(body))
        assert status in (200, 400)  # msgspec may skip what need not be read
        if status == 400:
            assert "not JSON" in json.loads(answer)["error"]["message"]
        assert (await rig.ask(post()))[0] == 200

    run_rig(scenario, ScriptedBackend(WHOLE))


def test_an_answer_nested_too_deeply_is_garbage_and_another_backend_answers(run_rig: RunRig) -> None:
    deep = b'{"choices":[],"usage":%b}' % DEEP
    answer = b"HTTP/1.1 200 OK\r\n" + JSON + b"content-length: %d\r\n\r\n%b" % (len(deep), deep)

    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post()))[0] == 200

    run_rig(scenario, ScriptedBackend(answer), ScriptedBackend(WHOLE))


@pytest.mark.parametrize("size", [70_000, 2_000_000])
def test_json_cut_by_the_end_of_its_connection_is_never_passed_on_as_complete(run_rig: RunRig, size: int) -> None:
    piece = b'{"choices":[{"text":"' + b"x" * size + b'"}],"usage":{}'
    cut = b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\n" + piece

    async def scenario(rig: Rig) -> None:
        _, _, body, complete = await rig.ask(post())
        assert body == COMPLETION or not complete

    run_rig(scenario, ScriptedBackend(ending(cut)), ScriptedBackend(WHOLE))


@pytest.mark.parametrize("answer", [WHOLE, STREAM])
def test_an_end_is_in_the_ledger_before_the_client_has_the_last_of_its_answer(run_rig: RunRig, answer: bytes) -> None:
    """Also where the connection is closed after the answer, which sends it at once."""
    written: list[tuple[int, int]] = []  # attempts ended, of those how many in the file at that time

    async def scenario(rig: Rig) -> None:
        flush, ledger = rig.ledger.flush, rig.ledger
        ledger.flush = lambda: (written.append((len(ledger.ended), len(ledger.open))), flush())[1]  # type: ignore[method-assign]
        await rig.ask(post(b"connection: close\r\n", stream=answer is STREAM))
        assert written[-1] == (1, 0), "the flush that let the last bytes out had the end"

    run_rig(scenario, ScriptedBackend(answer))


def test_a_journal_that_cannot_be_written_ends_and_requests_go_on(
    run_rig: RunRig, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logs(LogFormat.HUMAN)

    def full(*entry: object) -> None:
        raise OSError(28, "No space left on device")

    async def scenario(rig: Rig) -> None:
        rig.gateway.gateway._books.journal = full
        for _ in range(3):
            assert (await rig.ask(post()))[0] == 200

    run_rig(scenario, ScriptedBackend(WHOLE))
    assert capsys.readouterr().err.count("the journal cannot be written") == 1


class Full(io.StringIO):
    """A stderr that goes to the same full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_and_a_full_stderr_together_hold_nobody_up(
    run_rig: RunRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(rig: Rig) -> None:
        rig.ledger.fault = OSError(28, "No space left on device")
        monkeypatch.setattr("sys.stderr", Full())
        assert (await rig.ask(post()))[0] == 200
        monkeypatch.undo()

    run_rig(scenario, ScriptedBackend(WHOLE))


def test_a_policy_that_raises_gets_its_client_a_500_that_names_it_and_the_gateway_goes_on(run_rig: RunRig) -> None:
    class Moody(Picker):
        def pick(self, now_s: float, request: Asking, free: Sequence[Candidate]) -> Candidate:
            if request.request_id == 1:
                raise KeyError("weights")
            return free[0]

    def engine_for(fleet: Fleet) -> PolicyEngine:
        return PolicyEngine(fleet, rng.stream(0, "policy"), Policy("moody", "", lambda fleet, rng: Moody()))

    async def scenario(rig: Rig) -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        status, _, body, _ = await rig.ask(post(stream=True))
        assert status == 500
        assert "policy 'moody' raised KeyError: 'weights'" in json.loads(body)["error"]["message"]
        assert [type(context["exception"]) for context in told] == [InvariantError]
        status, *_ = await rig.ask(post(stream=True))
        assert status == 200
        admin = b"GET /admin/state HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
        state = json.loads((await rig.ask(admin, rig.gateway.admin_port))[2])
        assert state["engine"]["policy"] == "moody"
        assert state["engine"]["requests_live"] == 0

    run_rig(scenario, ScriptedBackend(STREAM), engine_for=engine_for)


def test_no_timer_fires_before_its_time_whatever_the_loop_takes_for_now(run_rig: RunRig) -> None:
    """A loop's own clock stands still while the loop is busy: what is set then would come early, and mean nothing."""

    async def scenario(rig: Rig) -> None:
        driver, told = rig.gateway.gateway, list[float]()
        started_s = driver._clock()
        driver._clock = lambda: started_s + 0.2 * (time.monotonic() - started_s)
        driver.tell = lambda event: told.append(driver.now_s())
        due_s = driver.now_s() + 0.02
        driver._set_timer(driver.now_s(), SetTimer(1, due_s))
        await rig.until(lambda: told)
        assert told[0] >= due_s - EARLY_S

    run_rig(scenario, ScriptedBackend())
