"""Each backend is spoken to in its own dialect, and its errors reach the engine by what they mean."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from gateway_rig import COMPLETION, STREAM, WHOLE, Rig, RunRig, ScriptedBackend, post

from headrace import rng
from headrace.errors import ConfigError
from headrace.fleet import Fleet
from headrace.policy import AttemptFailed, FailureKind, Finished, PolicyEngine


def real_engine(fleet: Fleet) -> PolicyEngine:
    return PolicyEngine(fleet, rng.stream(0, "policy"))


def error(status: int, body: bytes, headers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status, headers, len(body)) + body


def flat(message: str, code: str) -> bytes:
    return json.dumps({"message": message, "type": "t", "param": "p", "code": code}).encode()


def test_a_request_is_fitted_and_the_client_told_what_was_lost(run_rig: RunRig) -> None:
    groq = ScriptedBackend(WHOLE)

    async def scenario(rig: Rig) -> None:
        asked = {"max_tokens": 9, "seed": 1, "metadata": {"a": "b"}, "reasoning_effort": "max", "store": True}
        status, headers, body, _ = await rig.ask(post(**asked))
        assert (status, body) == (200, COMPLETION)
        assert headers[b"x-headrace-dropped"] == b"metadata, store"
        assert headers[b"x-headrace-approximated"] == b"reasoning_effort"
        (sent,) = groq.bodies
        assert sent == {"model": "m", "messages": [], "max_completion_tokens": 9, "seed": 1, "reasoning_effort": "high"}
        assert b"x-headrace-dropped" not in (await rig.ask(post(seed=1)))[1]

    run_rig(scenario, groq, settings=[{"dialect": "groq"}])


def test_what_one_backend_cannot_give_is_asked_of_another(run_rig: RunRig) -> None:
    groq, other = ScriptedBackend(WHOLE), ScriptedBackend(WHOLE)

    async def scenario(rig: Rig) -> None:
        _, headers, _, _ = await rig.ask(post(n=2))
        assert headers[b"x-headrace-backend"] == b"b1"
        assert groq.bodies == []
        assert other.bodies[0]["n"] == 2, "it went to the other as it came"

    run_rig(scenario, groq, other, engine_for=real_engine, settings=[{"dialect": "groq"}])


def test_what_no_backend_can_give_is_a_400_that_names_it(run_rig: RunRig) -> None:
    groq = ScriptedBackend(WHOLE)

    async def scenario(rig: Rig) -> None:
        status, _, body, _ = await rig.ask(post(n=2))
        wrong = json.loads(body)["error"]
        assert (status, wrong["param"], wrong["type"]) == (400, "n", "invalid_request_error")
        assert "Groq" in wrong["message"]
        assert (await rig.ask(post(n=1)))[0] == 200

    run_rig(scenario, groq, engine_for=real_engine, settings=[{"dialect": "groq"}])


@pytest.mark.parametrize(
    ("settings", "path", "line"),
    [
        ({"dialect": "groq"}, b"/base/v1/chat/completions", b"authorization: Bearer backend-secret\r\n"),
        ({"dialect": "vertex"}, b"/base/chat/completions", b"authorization: Bearer backend-secret\r\n"),
        ({"api_key_env": None}, b"/base/v1/chat/completions", b"content-type: application/json\r\n"),
        (
            {"dialect": "vertex", "api_key_env": None, "token_command": (sys.executable, "-c", "print('short-lived')")},
            b"/base/chat/completions",
            b"authorization: Bearer short-lived\r\n",
        ),
        (
            {"dialect": "bedrock", "api_key_env": None, "aws_region": "eu-west-1"},
            b"/base/v1/chat/completions",
            b"/eu-west-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=",
        ),
    ],
)
def test_each_dialect_has_its_path_and_its_credential(
    run_rig: RunRig, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], path: bytes, line: bytes
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    backend = ScriptedBackend(WHOLE)

    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post(b"authorization: Bearer client-key\r\n")))[0] == 200
        (head,) = backend.heads
        assert head.startswith(b"POST %b HTTP/1.1\r\n" % path)
        assert line in head
        assert b"client-key" not in head
        assert (b"authorization: " in head) == (settings != {"api_key_env": None})

    run_rig(scenario, backend, settings=[settings])


def test_a_token_command_that_prints_no_token_stops_the_start(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        raise AssertionError("it started")

    command = (sys.executable, "-c", "import sys; sys.exit('not logged in')")
    with pytest.raises(ConfigError, match=r"token_command.*not logged in"):
        run_rig(scenario, ScriptedBackend(WHOLE), settings=[{"api_key_env": None, "token_command": command}])


FAILURES = [
    (error(429, flat("busy", "queue_exceeded")), FailureKind.OVERLOADED, None),
    (
        error(
            429,
            flat("quota", "token_quota_exceeded"),
            b"x-ratelimit-remaining-tokens-minute: 0\r\nx-ratelimit-reset-tokens-minute: 11.5\r\n",
        ),
        FailureKind.OVERLOADED,
        11.5,
    ),
    (error(404, flat("no", "model_not_found")), FailureKind.MISCONFIGURED, None),
    (error(402, b'{"error":{"message":"pay"}}'), FailureKind.MISCONFIGURED, None),
    (error(429, b'{"error":{"message":"m","code":"insufficient_quota"}}'), FailureKind.MISCONFIGURED, None),
    (error(413, flat("long", "x")), FailureKind.UNFIT, None),
    (error(400, b'{"error":{"message":"m","type":"exceed_context_size_error"}}'), FailureKind.UNFIT, None),
    (error(500, b"<html>oh</html>"), FailureKind.SERVER_ERROR, None),
]


@pytest.mark.parametrize(("answer", "kind", "retry_after_s"), FAILURES)
def test_an_error_reaches_the_engine_by_what_it_means(
    run_rig: RunRig, answer: bytes, kind: FailureKind, retry_after_s: float | None
) -> None:
    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post()))[1][b"x-headrace-backend"] == b"b1"
        (failed,) = rig.engine.of(AttemptFailed)
        assert (failed.kind, failed.retry_after_s) == (kind, retry_after_s)

    run_rig(scenario, ScriptedBackend(answer), ScriptedBackend(WHOLE), settings=[{"dialect": "cerebras"}])


def test_a_refusal_in_another_shape_reaches_the_client_in_openai_s(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        status, headers, body, _ = await rig.ask(post())
        assert status == 400
        assert headers[b"content-type"] == b"application/json"
        wrong = json.loads(body)["error"]
        assert wrong == {"message": "bad", "type": "invalid_request_error", "param": "p", "code": "wrong_api_format"}
        assert len(rig.engine.of(Finished)) == 1

    answer = error(400, flat("bad", "wrong_api_format"))
    run_rig(scenario, ScriptedBackend(answer), settings=[{"dialect": "cerebras"}])


def test_a_refusal_in_openai_s_shape_goes_on_as_it_came(run_rig: RunRig) -> None:
    body = b'{ "error":{"message":"bad","type":"t","param":null,"code":null,"extra":1}}'

    async def scenario(rig: Rig) -> None:
        assert (await rig.ask(post()))[2] == body

    run_rig(scenario, ScriptedBackend(error(400, body)), settings=[{"dialect": "openai"}])


def test_what_is_too_long_for_every_backend_is_told_to_the_client(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        status, _, body, _ = await rig.ask(post(stream=True))
        assert (status, json.loads(body)["error"]["code"]) == (413, "context_length_exceeded")
        assert {view.breaker for view in rig.engine.view().backends} == {"closed"}

    long = error(413, b'{"message":"too long"}')
    backends = ScriptedBackend(long), ScriptedBackend(long)
    run_rig(scenario, *backends, engine_for=real_engine, settings=[{"dialect": "cerebras"}] * 2)


def test_a_larger_backend_answers_what_is_too_long_for_one(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(2):
            assert (await rig.ask(post(stream=True)))[0] == 200

    long = error(400, b'{"error":{"message":"m","code":"context_length_exceeded"}}')
    run_rig(scenario, ScriptedBackend(long), ScriptedBackend(STREAM), engine_for=real_engine)
