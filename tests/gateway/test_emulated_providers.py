"""The gateway in front of emulated providers: each row of what they refuse, and of how they fail, end to end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from emulated_rig import Ask, through

from headrace.policy import PolicyEngine
from headrace.wire.apis import APIS, PLAIN
from headrace.wire.canonical import fold

SERVED = [
    ("groq", {"messages": [{"role": "user", "name": "ann", "content": "x"}]}, b"messages[].name"),
    ("groq", {"frequency_penalty": 1.0, "metadata": {"a": "b"}}, b"frequency_penalty, metadata"),
    ("groq", {"include_reasoning": True, "reasoning_format": "parsed"}, b"include_reasoning"),
    ("groq", {"n": 1, "logprobs": False}, None),
    ("vllm-tpu", {"seed": 1}, b"seed"),
    ("vllm", {"seed": 1}, None),
    ("cerebras", {"max_tokens": 9, "store": True}, b"store"),
    ("ollama", {"user": "u", "parallel_tool_calls": False}, b"user, parallel_tool_calls"),
]


@pytest.mark.parametrize(("dialect", "fields", "dropped"), SERVED, ids=lambda each: str(each)[:30])
def test_what_a_provider_would_refuse_is_taken_out_and_said(
    dialect: str, fields: dict[str, Any], dropped: bytes | None
) -> None:
    status, headers, _, _ = through(lambda ask, _: ask(**fields), dialect)
    assert (status, headers.get(b"x-headrace-dropped")) == (200, dropped)


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        ("groq", {"n": 2}),
        ("groq", {"logprobs": True}),
        ("groq", {"logit_bias": {"1": 1}}),
        ("groq", {"tools": [{"type": "function", "function": {"name": "f"}}] * 129}),
        ("ollama", {"tool_choice": "required"}),
        ("vllm", {"guided_json": {}}),
        ("cerebras", {"reasoning_effort": "xhigh"}),
    ],
)
def test_what_a_provider_cannot_give_goes_to_one_that_can(dialect: str, fields: dict[str, Any]) -> None:
    approximated = "reasoning_effort" in fields
    _, headers, _, _ = through(lambda ask, _: ask(**fields), dialect, "openai-compatible")
    assert headers[b"x-headrace-backend"] == (b"b0" if approximated else b"b1")
    status, _, body, _ = through(lambda ask, _: ask(**fields), dialect)
    assert status == (200 if approximated else 400)
    assert approximated or json.loads(body)["error"]["param"] in fields


HEALTHY = [
    *(("cerebras", code) for code in ("queue_exceeded", "request_quota_exceeded", "token_quota_exceeded", "503")),
    *(("groq", code) for code in ("capacity_exceeded", "rate_limit_exceeded", "503")),
    *(("openai", code) for code in ("rate_limit_exceeded", "503")),
    *(("vllm", code) for code in ("QueueOverflowError", "MaxQueuedTokensError")),
    *((name, "overloaded") for name in ("sglang", "llama.cpp", "ollama", "bedrock")),
    *((name, "quota") for name in ("ollama", "bedrock")),
    *((name, "context_length") for name in ("cerebras", "groq", "openai", "vllm", "sglang", "llama.cpp", "bedrock")),
]
ILL = [
    *(("cerebras", what) for what in ("402", "wrong_api_key", "model_not_found", "500", "502", "408")),
    *(("groq", what) for what in ("401", "404", "500", "502", "499")),
    *(("openai", what) for what in ("insufficient_quota", "401", "403", "404", "408", "409", "500")),
    *((name, "server_error") for name in ("vllm", "sglang", "llama.cpp", "ollama", "bedrock")),
]


@pytest.mark.parametrize(("dialect", "fault", "ill"), [*((*e, False) for e in HEALTHY), *((*e, True) for e in ILL)])
@pytest.mark.parametrize("stream", [False, True])
def test_another_backend_answers_and_only_the_ill_open_their_breaker(
    dialect: str, fault: str, ill: bool, stream: bool
) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> dict[str, float]:
        status, headers, _, whole = await ask(f"b0={fault}", stream=stream)
        assert (status, headers[b"x-headrace-backend"], whole) == (200, b"b1", True)
        return {view.name: view.failure_rate for view in engine.view().backends}

    rates = through(scenario, dialect, "openai-compatible")
    assert (rates["b0"] > rates["b1"]) is ill


@pytest.mark.parametrize("dialect", ["cerebras", "groq", "openai", "vllm", "sglang", "llama.cpp", "ollama", "bedrock"])
def test_the_caller_s_fault_is_told_in_openai_s_shape_and_asked_of_nobody_else(dialect: str) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> tuple[int, dict[bytes, bytes], bytes, bool]:
        return await ask("b0=bad_request")

    status, headers, body, _ = through(scenario, dialect, "openai-compatible")
    assert 400 <= status < 500 or status == 501
    assert headers[b"x-headrace-backend"] == b"b0"
    assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize("dialect", ["cerebras", "groq", "openai", "vllm", "sglang", "llama.cpp", "ollama"])
@pytest.mark.parametrize("fault", ["500@2", "cut@2", "polite@2"])
def test_an_answer_that_breaks_in_the_middle_never_looks_complete(dialect: str, fault: str) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> tuple[bytes, bool, bytes]:
        status, headers, body, whole = await ask(f"b0={fault}", stream=True)
        assert status == 200
        return body, whole, headers[b"x-headrace-backend"]

    body, whole, backend = through(scenario, dialect, "openai-compatible")
    if backend == b"b0":
        assert not whole
    else:  # it broke before anything was handed on, so the other answered
        assert whole
        assert body.count(b'"tok "') == 4


def test_a_missing_end_mark_is_forgiven_after_a_finish_reason() -> None:
    _, headers, body, whole = through(lambda ask, _: ask("b0=no_done", stream=True), "vllm", "openai-compatible")
    assert (headers[b"x-headrace-backend"], whole, b"[DONE]" in body) == (b"b0", True, False)


SCRIPT = [{"text": "The first of many rivers is the longest one."}, {"text": "no"}]


@pytest.mark.parametrize("script", [None, SCRIPT], ids=["plain", "scripted"])
@pytest.mark.parametrize("tokens", [3, 8, 11])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize(("first", "second"), [("vllm", "llama.cpp"), ("cerebras", "vllm"), ("llama.cpp", "sglang")])
def test_an_emulated_answer_goes_on_at_an_emulated_backend_of_other_silicon(
    first: str, second: str, path: str, tokens: int, script: Any
) -> None:
    asked = {"input": "hi"} if path.endswith("responses") else {"messages": [{"role": "user", "content": "hi"}]}
    more = {"max_tokens": 99} if path.endswith("messages") else {}

    async def scenario(ask: Ask, engine: PolicyEngine) -> list[str]:
        texts = []
        for fault in ("", f"b0=cut@{tokens}"):
            _, _, body, whole = await ask(fault, path=path, tokens=11, stream=True, **asked, **more)
            assert whole, body[-500:]
            api = next(api for api in APIS.values() if api.path == path)
            texts.append(fold(api.stream_reader(PLAIN).feed(body)).choices[0].text)
        return texts

    unbroken, rescued = through(scenario, first, second, script=script)
    assert unbroken == rescued == (SCRIPT[0]["text"] if script else "tok " * 11)
