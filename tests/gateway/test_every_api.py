"""Whatever API a client speaks and whichever one the backend does, a conversation comes out the same."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from emulated_rig import MODEL, Ask, through
from msgspec import Raw
from msgspec.structs import replace as changed

from headrace.policy import PolicyEngine
from headrace.wire import ApiName
from headrace.wire.apis import APIS, PLAIN, Accepts
from headrace.wire.canonical import (
    Answer,
    FunctionTool,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    fold,
)

CHATTY: tuple[ApiName, ...] = ("chat", "responses", "messages")
ALL: tuple[ApiName, ...] = (*CHATTY, "completions")
ACCEPTS = Accepts(default_max_output_tokens=400)
SCRIPT = [
    {
        "reasoning": "I look first.",
        "text": "Looking.",
        "calls": [{"name": "read", "arguments": {"path": "é"}}, {"name": "list", "arguments": {}}],
    },
    {"text": "Done: zwölf \U0001f600."},
]
TOOLS = tuple(FunctionTool(name, "A tool.", Raw(b'{"type":"object"}')) for name in ("read", "list"))
SSE = b"text/event-stream"
pytestmark = pytest.mark.usefixtures("backends_of_one_api")


async def answer_of(ask: Ask, api: ApiName, request: Request) -> tuple[Answer, dict[bytes, bytes]]:
    body = APIS[api].write_request(request, ACCEPTS).body
    status, headers, answered, complete = await ask(path=APIS[api].path, raw=body)
    assert (status, complete) == (200, True), answered
    if not request.stream:
        assert headers[b"content-type"] == b"application/json"
        return APIS[api].read_answer(answered, PLAIN), headers
    assert headers[b"content-type"] == SSE
    reader = APIS[api].stream_reader(PLAIN)
    return fold([*reader.feed(answered), *reader.close(True)]), headers


async def conversation(ask: Ask, client: ApiName, stream: bool) -> list[Answer]:
    """Two turns: the model calls two tools at once, gets their results, and says that it is done."""
    asked = Turn("user", (Text("Find it."),))
    request = Request(api=client, model=MODEL, turns=(asked,), tools=TOOLS, stream=stream, max_output_tokens=300)
    first, _ = await answer_of(ask, client, request)
    calls = [part for part in first.choices[0].parts if isinstance(part, ToolCall)]
    results = [Turn("tool", (ToolResult(call.call_id, (Text(f"{call.name}!"),)),)) for call in calls]
    spoken = Turn("assistant", tuple(p for p in first.choices[0].parts if isinstance(p, Text | ToolCall)))
    second, _ = await answer_of(ask, client, changed(request, turns=(asked, spoken, *results)))
    return [first, second]


def meaning(answer: Answer) -> Any:
    (choice,) = answer.choices
    parts = [changed(part, call_id="") if isinstance(part, ToolCall) else part for part in choice.parts]
    return sorted(map(repr, parts)), choice.finish, answer.model


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "backend"), list(itertools.product(CHATTY, CHATTY)))
def test_a_tool_loop_means_the_same_through_every_pair_of_apis(client: ApiName, backend: ApiName, stream: bool) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> list[Answer]:
        return await conversation(ask, client, stream)

    answers, ledger = through(scenario, f"only-{backend}", script=SCRIPT, with_ledger=True)
    first, second = answers
    text, calls = Text("Looking."), [("read", {"path": "é"}), ("list", {})]
    assert text in first.choices[0].parts
    called = [part for part in first.choices[0].parts if isinstance(part, ToolCall)]
    assert [(call.name, json.loads(call.arguments)) for call in called] == calls
    assert len({call.call_id for call in called}) == 2
    assert (first.choices[0].finish, second.choices[0].finish) == ("tool_calls", "stop")
    assert second.choices[0].text == "Done: zwölf \U0001f600."
    assert "I look first." in repr(first.choices[0].parts)
    if client != "chat" or not stream:  # a chat client did not ask for the usage of its stream
        for answer, row in zip(answers, ledger, strict=True):
            assert answer.usage is not None
            assert (row["input_tokens"], row["output_tokens"]) == answer.usage[:2]
    assert [row["status"] for row in ledger] == ["completed"] * 2
    assert all(row["output_tokens"] > 0 for row in ledger)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("backend", ALL)
def test_a_prompt_is_completed_by_a_backend_of_every_api(backend: ApiName, stream: bool) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        request = Request(api="completions", model=MODEL, prompts=("Say it.",), stream=stream, max_output_tokens=300)
        answer, headers = await answer_of(ask, "completions", request)
        assert answer.choices[0].text == "Done"
        assert (b"x-headrace-approximated" in headers) == (backend != "completions")

    through(scenario, f"only-{backend}", script=[{"text": "Done"}])


@pytest.mark.parametrize("client", CHATTY)
def test_one_users_text_is_completed_where_there_are_only_completions(client: ApiName) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        request = Request(api=client, model=MODEL, turns=(Turn("user", (Text("Say it."),)),), max_output_tokens=300)
        answer, headers = await answer_of(ask, client, request)
        assert answer.choices[0].text == "Done"
        assert headers[b"x-headrace-approximated"]

    through(scenario, "only-completions", script=[{"text": "Done"}])


ASKED: dict[ApiName, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}], "stop": ["x"], "n": 2},
    "responses": {"input": [{"type": "item_reference", "id": "msg_1"}]},
    "messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "mcp_servers": [{"url": "u"}]},
    "completions": {"prompt": ["a", "b"]},
    "embeddings": {"input": "a"},
}
NAMED: dict[ApiName, tuple[str, str]] = {
    "chat": ("only-responses", "n"),
    "responses": ("only-chat", "input"),
    "messages": ("only-chat", "mcp_servers"),
    "completions": ("only-chat", "prompt"),
    "embeddings": ("only-chat", "embeddings"),
}


@pytest.mark.parametrize("client", list(ASKED))
def test_what_cannot_be_said_on_the_other_side_is_a_400_that_names_it(client: ApiName) -> None:
    dialect, name = NAMED[client]
    path = "/v1/embeddings" if client == "embeddings" else APIS[client].path
    status, _, body, _ = through(lambda ask, _: ask(path=path, **ASKED[client]), dialect)
    error = json.loads(body)["error"]
    assert status == 400
    assert name in error["message"]
    assert (json.loads(body).get("type") == "error") == (client == "messages")


def test_it_goes_where_it_can_be_said() -> None:
    asked = {"path": "/v1/completions", "prompt": ["a", "b"]}
    _, headers, _, _ = through(lambda ask, _: ask(**asked), "only-chat", "only-completions")
    assert headers[b"x-headrace-backend"] == b"b1"


def test_each_attempt_speaks_its_backends_api() -> None:
    """The first backend is full, of another API than the second."""

    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        body = APIS["messages"].write_request(
            Request(api="messages", model=MODEL, turns=(Turn("user", (Text("hi"),)),), max_output_tokens=5), ACCEPTS
        )
        status, headers, answered, _ = await ask("b0=overloaded", path="/v1/messages", raw=body.body)
        assert (status, headers[b"x-headrace-backend"]) == (200, b"b1")
        assert json.loads(answered)["type"] == "message"

    through(scenario, "only-chat", "only-responses")


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_vectors_come_in_the_encoding_that_was_asked_for(encoding: str) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        _, headers, body, _ = await ask(path="/v1/embeddings", input=["a", "b"], encoding_format=encoding)
        answer = json.loads(body)
        assert [isinstance(each["embedding"], str) for each in answer["data"]] == [encoding == "base64"] * 2
        assert headers[b"x-headrace-backend"] == b"b0"
        assert answer["usage"]["prompt_tokens"] > 0

    _, ledger = through(scenario, "openai-compatible", with_ledger=True)
    assert ledger[0]["input_tokens"] > 0


def test_tokens_are_counted_by_estimate_and_the_client_is_told() -> None:
    asked = {"path": "/v1/messages/count_tokens", "messages": [{"role": "user", "content": "hi " * 400}]}
    status, headers, body, _ = through(lambda ask, _: ask(**asked), "only-chat")
    assert (status, headers[b"x-headrace-approximated"]) == (200, b"input_tokens")
    assert 100 < json.loads(body)["input_tokens"] < 1300


def test_the_prefix_that_groqs_sdk_puts_before_every_path_is_understood() -> None:
    asked = {"path": "/openai/v1/chat/completions", "messages": [{"role": "user", "content": "hi"}]}
    status, _, body, _ = through(lambda ask, _: ask(**asked), "only-messages")
    assert (status, json.loads(body)["object"]) == (200, "chat.completion")
