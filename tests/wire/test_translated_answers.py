"""Tools of other shapes, seals, and the ways in which backends differ, each told apart from a whole answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire_rig import ANSWER_ID, accepting, plain, read_stream, recorded, write_stream

from headrace.errors import BackendError, CapacityError, RequestError
from headrace.wire import ErrorKind, encode_error
from headrace.wire.apis import APIS, PLAIN, read_count, read_count_request, write_count
from headrace.wire.canonical import (
    Ended,
    Failed,
    Finished,
    Reasoning,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    fold,
    is_token_event,
)

PATCH = '*** Begin Patch\n*** Add File: a.py\n+print("héllo 😀")\n*** End Patch'
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
APPLY_PATCH = {"type": "custom", "name": "apply_patch", "description": "Edit.", "format": GRAMMAR}
READ = {"type": "function", "name": "read", "parameters": {"type": "object"}, "strict": False}
FILES = {"type": "namespace", "name": "files", "description": "Files.", "tools": [READ]}
CODEX: dict[str, Any] = {
    "model": "m",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "be good"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "patch it"}]},
        {"type": "custom_tool_call", "call_id": "c0", "name": "apply_patch", "input": PATCH},
        {"type": "custom_tool_call_output", "call_id": "c0", "output": "Done!"},
    ],
    "tools": [APPLY_PATCH, FILES, {"type": "web_search"}],
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": more.pop("index", 0), "delta": delta, "finish_reason": finish, **more.pop("choice", {})}
    data = {"id": "c", "created": 1, "model": "m", "choices": [choice], **more}
    return b"data: %b\n\n" % json.dumps(data).encode()


def call_chunk(at: int, arguments: str, **head: Any) -> bytes:
    return chunk({"tool_calls": [{"index": at, **head, "function": {"arguments": arguments, **head.pop("f", {})}}]})


def named(at: int, call_id: str, name: str) -> bytes:
    call = {"index": at, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    return chunk({"tool_calls": [call]})


STOP = chunk({}, "stop")
DONE = b"data: [DONE]\n\n"


def test_tools_that_are_offered_in_an_item_are_tools() -> None:
    """Codex does so with its newest models (0.169)."""
    more = {"type": "additional_tools", "role": "developer", "tools": [APPLY_PATCH, FILES]}
    asked = CODEX | {"input": [more, *CODEX["input"]], "tools": [READ]}
    request = APIS["responses"].read_request(json.dumps(asked).encode())
    sent = json.loads(APIS["chat"].write_request(request, accepting()).body)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["read", "apply_patch", "files__read"]
    assert len(sent["messages"]) == len(CODEX["input"])


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_codex_gets_its_custom_tool_and_its_namespace_back_from_a_chat_backend(size: int) -> None:
    request = APIS["responses"].read_request(json.dumps(CODEX).encode())
    outgoing = APIS["chat"].write_request(request, accepting())
    sent = json.loads(outgoing.body)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["apply_patch", "files__read"]
    assert json.loads(sent["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"input": PATCH}
    assert outgoing.dropped == ("tools[web_search]", "include")
    wrapped = json.dumps({"input": PATCH})
    stream = named(0, "c1", "apply_patch")
    stream += b"".join(call_chunk(0, wrapped[at : at + size]) for at in range(0, len(wrapped), size))
    stream += named(1, "c2", "files__read") + call_chunk(1, "{}") + chunk({}, "tool_calls") + DONE
    answer = fold(read_stream("chat", stream, outgoing.tools))
    assert answer.choices[0].parts == (
        ToolCall("c1", "apply_patch", PATCH, custom=True),
        ToolCall("c2", "read", "{}", namespace="files"),
    )
    written = write_stream("responses", request, read_stream("chat", stream, outgoing.tools))
    assert fold(read_stream("responses", written)).choices == answer.choices
    assert b'"type":"custom_tool_call"' in written
    assert b'"namespace":"files"' in written


def test_a_tool_with_a_long_namespace_keeps_a_name_that_providers_take() -> None:
    body = CODEX | {"tools": [FILES | {"name": "n" * 60}]}
    outgoing = APIS["chat"].write_request(APIS["responses"].read_request(json.dumps(body).encode()), accepting())
    (tool,) = json.loads(outgoing.body)["tools"]
    name = tool["function"]["name"]
    assert len(name) == 64
    assert outgoing.tools.find(name).namespace == "n" * 60


def test_two_tools_of_one_name_are_refused() -> None:
    function = {"type": "function", "function": {"name": "f"}}
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [function, function]}
    with pytest.raises(RequestError, match="two tools are called 'f'"):
        APIS["messages"].write_request(APIS["chat"].read_request(json.dumps(body).encode()), accepting())


def test_a_backends_encrypted_reasoning_comes_back_to_it_through_a_messages_client() -> None:
    client, backend = APIS["messages"], APIS["responses"]
    request = client.read_request(recorded("messages.request.json"))
    answer = fold(read_stream("responses", recorded("responses.tools.sse")))
    blocks = json.loads(client.write_answer(answer, request, ANSWER_ID))["content"]
    again = json.loads(recorded("messages.request.json"))
    again["messages"] = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": blocks}]
    sent = json.loads(backend.write_request(client.read_request(json.dumps(again).encode()), accepting()).body)
    (item,) = [item for item in sent["input"] if item["type"] == "reasoning"]
    assert (item["id"], item["encrypted_content"]) == ("rs_1", "gAAAAABo")
    of_its_own = APIS["messages"].write_request(client.read_request(json.dumps(again).encode()), accepting())
    assert b"gAAAAABo" not in of_its_own.body
    assert of_its_own.dropped == ("messages[reasoning]",)


def test_past_reasoning_goes_where_the_backend_takes_it() -> None:
    past = {"role": "assistant", "content": "yo", "reasoning_content": "hm"}
    user = {"role": "user", "content": "hi"}
    body = {"model": "m", "messages": [user, past, user]}
    request = APIS["chat"].read_request(json.dumps(body).encode())
    outgoing = APIS["chat"].write_request(request, accepting(reasoning_field="reasoning"))
    assert json.loads(outgoing.body)["messages"][1]["reasoning"] == "hm"
    assert APIS["chat"].write_request(request, accepting()).dropped == ("messages[reasoning]",)


def test_accepts_says_what_a_chat_backend_takes() -> None:
    body = CODEX | {"max_output_tokens": 50, "top_k": 3, "chat_template_kwargs": {"x": 1}}
    request = APIS["responses"].read_request(json.dumps(body).encode())
    accepts = accepting(
        custom_tools=True,
        developer_role=True,
        max_tokens_field="max_tokens",
        extensions=frozenset(("top_k", "chat_template_kwargs")),
    )
    sent = json.loads(APIS["chat"].write_request(request, accepts).body)
    assert (sent["max_tokens"], sent["top_k"], sent["chat_template_kwargs"]) == (50, 3, {"x": 1})
    assert sent["messages"][0]["role"] == "developer"
    assert sent["tools"][0]["type"] == "custom"


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (chunk({"content": "a"}, "abort"), "abort"),
        (chunk({"content": "a"}) + DONE, "ended before"),
        (chunk({"content": "a"}), "ended before"),
        (b"", "ended before"),
        (DONE, "ended before"),
        (chunk({"content": "a"}) + b"data: {nonsense\n\n", "cannot be read"),
        (chunk({"content": "a"}, x_groq={"error": "over capacity"}), "over capacity"),
        (chunk({"content": "a"}) + b'data: {"error":{"message":"gone"},"status_code":503}\n\n', "gone"),
        (chunk({"content": "a"}) + b'data: {"error":"flat"}\n\n', "flat"),
        (named(0, "a", "f") + named(1, "b", "g") + call_chunk(0, "{}"), "interleaved"),
        (chunk({"content": "a"}, "stop") + chunk({"content": "b"}, index=1) + DONE, "ended before"),
    ],
)
def test_a_chat_stream_that_is_not_whole_ends_with_one_failure(stream: bytes, message: str) -> None:
    events = read_stream("chat", stream)
    failed = [event for event in events if isinstance(event, Failed)]
    assert failed == events[-1:]
    assert message in failed[0].message
    with pytest.raises(BackendError):
        fold(events)


def test_a_status_inside_a_stream_is_kept() -> None:
    stream = b'data: {"error":{"message":"queue full","code":"queue_exceeded"},"status_code":429}\n\n'
    (failed,) = read_stream("chat", stream)
    assert failed == Failed(429, "queue full", "server_error", "queue_exceeded", reason=ErrorKind.OVERLOADED)


def test_usage_of_groq_and_the_stop_string_of_vllm_are_read() -> None:
    usage = {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    stream = chunk({"content": "a"}) + chunk({}, "stop", x_groq=usage, choice={"stop_reason": "END"}) + DONE
    answer = fold(read_stream("chat", stream))
    assert answer.usage == Usage(5, 2)
    assert answer.choices[0].stop_sequence == "END"
    request = APIS["messages"].read_request(recorded("messages.request.json"))
    message = json.loads(APIS["messages"].write_answer(answer, request, ANSWER_ID))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_finished_stream_without_done_is_whole_only_if_its_framing_says_so() -> None:
    for explicit, last in ((True, Ended), (False, Failed)):
        reader = APIS["chat"].stream_reader(PLAIN)
        events = reader.feed(chunk({"content": "a"}) + STOP) + reader.close(explicit)
        assert type(events[-1]) is last


def test_choices_that_are_interleaved_are_told_apart() -> None:
    stream = chunk({"content": "a"}) + chunk({"content": "x"}, index=1) + chunk({"content": "b"}, "stop")
    stream += named(0, "c", "f").replace(b'"index": 0, "delta"', b'"index": 1, "delta"') + chunk({}, "stop", index=1)
    first, second = fold(read_stream("chat", stream + DONE)).choices
    assert (first.parts, first.finish) == ((Text("ab"),), "stop")
    assert (second.parts, second.finish) == ((Text("x"), ToolCall("c", "f", "{}")), "tool_calls")


def test_the_first_token_is_any_piece_of_the_answer() -> None:
    events = read_stream("chat", recorded("chat.tools.sse"))
    assert [is_token_event(event) for event in events[:2]] == [False, True]
    assert type(events[1]) is ReasoningDelta
    tokens = {type(event) for event in events if is_token_event(event)}
    assert tokens == {ReasoningDelta, TextDelta, ToolCallStarted, ToolCallDelta, Finished}


def test_a_responses_backend_that_sends_items_only_whole_is_read() -> None:
    every = recorded("responses.tools.sse").split(b"\n\n")
    events = [event for event in every if b".delta" not in event and b".added" not in event]
    whole = fold(read_stream("responses", b"\n\n".join(events)))
    assert plain(whole.choices) == plain(fold(read_stream("responses", recorded("responses.tools.sse"))).choices)
    assert isinstance(whole.choices[0].parts[0], Reasoning)


def test_errors_of_headrace_have_the_shape_of_the_api_that_was_asked() -> None:
    error = CapacityError("nothing is free")
    status, body = encode_error(error, "messages")
    assert status == 503
    assert json.loads(body)["error"] == {"type": "overloaded_error", "message": "nothing is free"}
    for api in ("chat", "completions", "responses", "embeddings"):
        assert json.loads(encode_error(error, api)[1])["error"]["code"] == "overloaded"


def test_counting_tokens_needs_no_ceiling() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    assert read_count_request(body).max_output_tokens is None
    assert read_count(write_count(17)) == 17
