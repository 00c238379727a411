"""An emulated backend behaves like its provider: errors, streams, usage, limits, and faults on request."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from dialect_rig import FAULT, MODEL, Reply, ask, chat, emulated

from headrace.fleet import Quota
from headrace.wire import ErrorKind, read_error, stream_error
from headrace.wire.dialects import DIALECTS

CHAT_DIALECTS = [name for name, dialect in DIALECTS.items() if dialect.paths.get("chat") == "/v1/chat/completions"]


def one(dialect: str, headers: dict[str, str] | None = None, quota: Quota | None = None, **fields: object) -> Reply:
    """The answer to one chat request."""
    found: Reply = emulated(dialect, lambda port: chat(port, headers, **fields), quota)
    return found


def streamed(dialect: str, headers: dict[str, str] | None = None, **fields: object) -> Reply:
    return one(dialect, headers, stream=True, **fields)


FAULTS = [
    ("cerebras", "queue_exceeded", 429, lambda body: body["code"] == "queue_exceeded" and "error" not in body),
    ("cerebras", "request_quota_exceeded", 429, lambda body: body["type"] == "too_many_requests_error"),
    ("cerebras", "wrong_api_key", 401, lambda body: body["code"] == "wrong_api_key"),
    ("cerebras", "model_not_found", 404, lambda body: body["code"] == "model_not_found"),
    ("cerebras", "413", 413, lambda body: "message" in body),
    ("groq", "capacity_exceeded", 498, lambda body: body["error"]["code"] == "capacity_exceeded"),
    ("groq", "context_length", 413, lambda body: body["error"]["type"] == "tokens"),
    ("groq", "quota", 429, lambda body: body["error"]["code"] == "rate_limit_exceeded"),
    ("openai", "insufficient_quota", 429, lambda body: body["error"]["type"] == "insufficient_quota"),
    ("vllm", "QueueOverflowError", 503, lambda body: body["error"]["code"] == 503),
    ("vllm", "bad_request", 400, lambda body: body["error"]["code"] == 400),
    ("sglang", "overloaded", 503, lambda body: body["message"] == "The request queue is full."),
    ("llama.cpp", "exceed_context_size_error", 400, lambda body: body["error"]["code"] == 400),
    ("llama.cpp", "not_supported_error", 501, lambda body: body["error"]["type"] == "not_supported_error"),
    ("ollama", "overloaded", 503, lambda body: "maximum pending requests" in body["error"]["message"]),
    ("bedrock", "ThrottlingException", 429, lambda body: list(body) == ["message"]),
    ("openai-compatible", "overloaded", 503, lambda body: "error" in body),
]


@pytest.mark.parametrize(("dialect", "fault", "status", "holds"), FAULTS)
def test_an_error_on_request_has_its_provider_s_status_and_shape(
    dialect: str, fault: str, status: int, holds: Any
) -> None:
    reply = one(dialect, {FAULT: fault})
    assert reply.status == status
    assert holds(reply.json), reply.body
    assert reply.headers["x-headrace-emulated"] == "1"


@pytest.mark.parametrize("dialect", CHAT_DIALECTS)
def test_an_error_after_some_tokens_comes_inside_the_200_stream(dialect: str) -> None:
    reply = streamed(dialect, {FAULT: "500@2"})
    assert (reply.status, reply.whole) == (200, True)
    fault = stream_error(reply.body)
    assert fault is not None
    assert fault.kind is ErrorKind.SERVER_ERROR
    assert reply.body.count(b'"tok "') == 2
    assert b'"finish_reason":"stop"' not in reply.body


def test_each_provider_s_error_inside_a_stream_has_its_shape() -> None:
    assert streamed("cerebras", {FAULT: "overloaded@1"}).events[-1]["status_code"] == 429
    groq = streamed("groq", {FAULT: "overloaded@1"}).events[-1]
    assert isinstance(groq["x_groq"]["error"], str)
    *_, error, done = streamed("vllm", {FAULT: "server_error@1"}).events
    assert (error["error"]["code"], done) == (500, "[DONE]")
    assert "error" in streamed("sglang", {FAULT: "server_error@1"}).events[-2], "wrapped, though HTTP errors are flat"


@pytest.mark.parametrize(
    ("fault", "whole", "finished", "done"),
    [("cut@3", False, False, False), ("polite@3", True, False, False), ("no_done", True, True, False)],
)
def test_a_transport_fault_ends_the_stream_as_it_says(fault: str, whole: bool, finished: bool, done: bool) -> None:
    reply = streamed("vllm", {FAULT: fault})
    assert reply.whole is whole
    assert (b'"finish_reason":"stop"' in reply.body) is finished
    assert ("[DONE]" in reply.events) is done
    assert reply.body.count(b'"tok "') == (6 if fault == "no_done" else 3)


@pytest.mark.parametrize(("fault", "whole"), [("polite@3", True), ("cut@3", False)])
def test_an_answer_that_is_not_streamed_breaks_as_its_stream_would(fault: str, whole: bool) -> None:
    reply = one("vllm", {FAULT: fault})
    assert (reply.status, reply.whole) == (200, whole)
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)


def test_a_fault_for_another_backend_or_of_another_provider_does_nothing_or_is_refused() -> None:
    assert one("groq", {FAULT: "somebody=capacity_exceeded"}).status == 200
    assert one("groq", {FAULT: "cerebras-1=capacity_exceeded"}).status == 498
    refused = one("groq", {FAULT: "queue_exceeded"})
    assert refused.status == 400
    assert "overloaded" in refused.json["error"]["message"], "it says what there is"


def test_a_list_of_faults_is_taken_one_a_request() -> None:
    async def scenario(port: int) -> list[int]:
        assert (await ask(port, "/emulated/faults", ["overloaded", "", "500"])).status == 200
        assert (await ask(port, "/emulated/faults", ["nonsense"])).status == 400, "a bad list changes nothing"
        return [(await chat(port)).status for _ in range(4)]

    assert emulated("groq", scenario) == [498, 200, 500, 200]


REFUSED = [
    ("groq", {"n": 2}, "n"),
    ("groq", {"logprobs": True}, "logprobs"),
    ("groq", {"logit_bias": {"1": 1}}, "logit_bias"),
    ("groq", {"messages": [{"role": "user", "name": "a", "content": "x"}]}, "name"),
    ("groq", {"tools": [{}] * 129}, "tools"),
    ("cerebras", {"reasoning_effort": "xhigh"}, "reasoning_effort"),
    ("vllm-tpu", {"seed": 1}, "JAX does not support per-request seed."),
    ("vllm", {"continue_final_message": True}, "continue_final_message"),
]


@pytest.mark.parametrize(("dialect", "fields", "says"), REFUSED)
def test_a_parameter_is_refused_where_the_provider_refuses_it(dialect: str, fields: dict[str, Any], says: str) -> None:
    reply = one(dialect, **fields)
    fault = read_error(reply.status, {}, reply.body, 0.0)
    assert (fault.status, fault.kind) == (400, ErrorKind.BAD_REQUEST)
    assert says in fault.message
    assert one("openai-compatible", **fields).status == 200


def test_usage_is_where_each_provider_puts_it() -> None:
    asks = {"stream_options": {"include_usage": True}}
    for dialect in ("openai", "vllm", "sglang", "llama.cpp", "ollama"):
        finish, usage, done = streamed(dialect, **asks).events[-3:]
        assert (usage["choices"], usage["usage"]["completion_tokens"], done) == ([], 6, "[DONE]")
        assert "usage" not in finish
        assert not any("usage" in event for event in streamed(dialect).events[:-1]), "not unasked"
    *_, last, done = streamed("cerebras").events
    assert last["usage"]["prompt_tokens"] == 10
    assert set(last["time_info"]) == {"queue_time", "prompt_time", "completion_time", "total_time"}
    *_, last, done = streamed("groq").events
    assert last["x_groq"]["usage"]["completion_tokens"] == 6
    assert last["x_groq"]["usage"]["total_time"] >= 0.0
    assert one("groq").json["usage"]["queue_time"] == 0.0
    assert "time_info" in one("cerebras").json
    assert one("llama.cpp").json["timings"]["predicted_n"] == 6


SCRIPT = [{"reasoning": "I think.", "text": "Hello."}]


@pytest.mark.parametrize(
    ("dialect", "field"),
    [
        ("cerebras", "reasoning"),
        ("groq", "reasoning"),
        ("vllm", "reasoning"),
        ("ollama", "reasoning"),
        ("sglang", "reasoning_content"),
        ("llama.cpp", "reasoning_content"),
        ("openai", None),
    ],
)
def test_reasoning_has_its_provider_s_name(dialect: str, field: str | None) -> None:
    async def scenario(port: int) -> tuple[Reply, Reply]:
        await ask(port, "/emulated/script", SCRIPT)
        return await chat(port, stream=True), await chat(port)

    stream, whole = emulated(dialect, scenario)
    deltas = [event["choices"][0]["delta"] for event in stream.events if event != "[DONE]" and event["choices"]]
    message = whole.json["choices"][0]["message"]
    assert "".join(delta.get("content") or "" for delta in deltas) == message["content"] == "Hello."
    for name in ("reasoning", "reasoning_content"):
        said = "".join(delta.get(name) or "" for delta in deltas)
        assert said == (message.get(name) or "") == ("I think." if name == field else "")


def test_first_chunks_and_odd_fields_are_those_of_the_provider() -> None:
    assert streamed("cerebras").events[0]["choices"][0]["delta"] == {"role": "assistant", "content": "tok "}
    assert streamed("groq").events[0]["x_groq"] == {"id": "req_emulated"}
    assert streamed("vllm").events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(event["obfuscation"] for event in streamed("openai").events[:-2])
    assert "reasoning_content" in streamed("sglang").events[2]["choices"][0]["delta"]
    assert all(isinstance(event["system_fingerprint"], str) for event in streamed("cerebras").events[:-1])


QUOTA = Quota(requests_per_day=100, requests_per_minute=50, tokens_per_minute=9000, true_up=False)
ENCODINGS = [
    ("cerebras", "x-ratelimit-reset-tokens-minute", r"\d+\.\d+"),
    ("groq", "x-ratelimit-reset-requests", r"\d+m\d+\.\d+s"),
    ("openai", "x-ratelimit-reset-tokens", r"(\d+m)?\d+\.\d+s"),
    ("anthropic", "anthropic-ratelimit-requests-reset", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
]


@pytest.mark.parametrize(("dialect", "name", "pattern"), ENCODINGS)
def test_rate_limit_headers_come_in_the_provider_s_encoding(dialect: str, name: str, pattern: str) -> None:
    if dialect == "anthropic":
        body = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        reply = emulated(dialect, lambda port: ask(port, "/v1/messages", body), QUOTA)
    else:
        reply = one(dialect, quota=QUOTA, max_completion_tokens=9)
    assert reply.status == 200
    assert re.fullmatch(pattern, reply.headers[name]), reply.headers
    assert not any("ratelimit" in header for header in one("vllm", quota=QUOTA).headers)


def test_groq_s_requests_are_per_day_and_openai_s_per_minute() -> None:
    assert one("groq", quota=QUOTA).headers["x-ratelimit-limit-requests"] == "100"
    assert one("openai", quota=QUOTA).headers["x-ratelimit-limit-requests"] == "50"


def test_cerebras_reserves_an_assumed_ceiling_at_admission() -> None:
    """9,000 tokens a minute are less than the 16,384 that are assumed without a ceiling."""
    generous = one("cerebras", quota=QUOTA)
    assert generous.status in (400, 413)
    honest = one("cerebras", quota=QUOTA, max_completion_tokens=100)
    assert honest.status == 200
    assert 9000 - 110 <= int(honest.headers["x-ratelimit-remaining-tokens-minute"]) < 9000
    assert one("vllm", quota=QUOTA).status == 200


def test_a_used_up_quota_is_told_from_a_full_queue() -> None:
    async def scenario(port: int) -> list[Reply]:
        return [await chat(port, max_completion_tokens=6000) for _ in range(2)]

    first, second = emulated("cerebras", scenario, QUOTA)
    assert (first.status, second.status) == (200, 429)
    headers = {name.encode(): value.encode() for name, value in second.headers.items()}
    fault = read_error(429, headers, second.body, 0.0)
    assert fault.kind is ErrorKind.QUOTA
    assert fault.retry_after_s is not None
    assert 3000 - 10 <= int(second.headers["x-ratelimit-remaining-tokens-minute"]) < 6000 + 10


def test_anthropic_speaks_messages_with_its_own_errors_and_ends() -> None:
    body = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}

    async def scenario(port: int) -> list[Reply]:
        async def send(fault: str = "", **fields: object) -> Reply:
            return await ask(port, "/v1/messages", body | fields, **{FAULT: fault})

        replies = [await send("overloaded_error"), await send(stream=True), await send("overloaded@1", stream=True)]
        replies += [await send(messages=[*body["messages"], {"role": "assistant", "content": "so"}])]  # type: ignore[misc]
        replies += [await ask(port, "/v1/messages", {"model": MODEL, "messages": body["messages"]})]
        return [*replies, await chat(port)]

    full, stream, broken, prefill, unlimited, other = emulated("anthropic", scenario)
    assert (full.status, full.json["error"]["type"]) == (529, "overloaded_error")
    assert "request_id" in full.json
    kinds = [event["type"] for event in stream.events]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    assert b"[DONE]" not in stream.body
    assert b"event: error" in broken.body
    assert broken.events[-1]["type"] == "error"
    assert "prefill" in prefill.json["error"]["message"]
    assert "max_tokens" in unlimited.json["error"]["message"]
    assert other.status == 404, "it has no chat completions"


def test_other_apis_are_served_where_the_dialect_has_them() -> None:
    async def scenario(port: int) -> list[Reply]:
        responses = await ask(port, "/v1/responses", {"model": MODEL, "input": "hi", "stream": True})
        completions = await ask(port, "/v1/completions", {"model": MODEL, "prompt": "hi", "max_tokens": 3})
        embeddings = await ask(port, "/v1/embeddings", {"model": MODEL, "input": ["a", "b"]})
        counted = await ask(
            port, "/v1/messages/count_tokens", {"model": MODEL, "messages": [{"role": "user", "content": "abcd" * 9}]}
        )
        return [responses, completions, embeddings, counted]

    responses, completions, embeddings, counted = emulated("vllm", scenario)
    kinds = [event["type"] for event in responses.events]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert completions.json["choices"][0]["text"] == "tok tok tok "
    assert [len(each["embedding"]) for each in embeddings.json["data"]] == [8, 8]
    assert counted.json["input_tokens"] == 9
    assert all(reply.status == 404 for reply in emulated("groq", scenario)[1:2]), "Groq has no completions"


CALLS = [
    {"reasoning": "look", "calls": [{"name": "exec_command", "arguments": {"cmd": "ls"}}]},
    {
        "calls": [
            {"name": "apply_patch", "input": "*** Begin Patch"},
            {"name": "exec_command", "arguments": {"cmd": "cat a"}},
        ]
    },
    {"text": "Done."},
]
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("exec_command", "apply_patch")]


def test_a_script_is_said_turn_by_turn_and_asked_again_says_the_same() -> None:
    async def scenario(port: int) -> list[Reply]:
        await ask(port, "/emulated/script", CALLS)
        messages: list[dict[str, Any]] = [{"role": "user", "content": "do it"}]
        replies = []
        for _ in range(3):
            replies += [await chat(port, messages=messages, tools=TOOLS) for _ in range(2)]
            said = replies[-1].json["choices"][0]["message"]
            messages.append(said)
            messages += [{"role": "tool", "tool_call_id": c["id"], "content": "ok"} for c in said.get("tool_calls", ())]
        return [
            *replies,
            await chat(port, messages=messages[:1]),
            await chat(port, messages=messages[:1], tools=TOOLS, stream=True),
        ]

    *turns, without_tools, stream = emulated("cerebras", scenario)
    said = [reply.json["choices"][0] for reply in turns]
    assert [[c["function"]["name"] for c in each["message"].get("tool_calls", ())] for each in said] == [
        *[["exec_command"]] * 2,
        *[["apply_patch", "exec_command"]] * 2,
        *[[]] * 2,
    ]
    assert [each["finish_reason"] for each in said] == ["tool_calls"] * 4 + ["stop"] * 2
    assert said[2]["message"]["tool_calls"][0]["function"]["arguments"] == '{"input":"*** Begin Patch"}'
    assert without_tools.json["choices"][0]["message"].get("tool_calls") is None
    deltas = [e["choices"][0]["delta"].get("tool_calls") for e in stream.events if e != "[DONE]" and e["choices"]]
    text = "".join(call["function"]["arguments"] for calls in deltas for call in calls or ())
    assert text == '{"cmd":"ls"}'


def test_a_script_on_responses_calls_functions_and_freeform_tools() -> None:
    tools = [{"type": "function", "name": "exec_command", "parameters": {}}, {"type": "custom", "name": "apply_patch"}]

    async def scenario(port: int) -> list[Any]:
        await ask(port, "/emulated/script", CALLS)
        items: list[dict[str, Any]] = [{"type": "message", "role": "user", "content": "do it"}]
        found = []
        for _ in range(3):
            reply = await ask(port, "/v1/responses", {"model": MODEL, "input": items, "tools": tools, "stream": True})
            output = reply.events[-1]["response"]["output"]
            found.append([(item["type"], item.get("name")) for item in output if item["type"] != "reasoning"])
            items += [item for item in output if item["type"] != "reasoning"]
            items += [
                {"type": f"{item['type']}_output", "call_id": item["call_id"], "output": "ok"}
                for item in output
                if item["type"].endswith("_call")
            ]
        return found

    assert emulated("vllm", scenario) == [
        [("function_call", "exec_command")],
        [("custom_tool_call", "apply_patch"), ("function_call", "exec_command")],
        [("message", None)],
    ]


@pytest.mark.parametrize("script", [{}, [{"texts": "x"}], "x"])
def test_what_is_no_script_is_refused(script: object) -> None:
    reply = emulated("vllm", lambda port: ask(port, "/emulated/script", script))
    assert reply.status == 400
