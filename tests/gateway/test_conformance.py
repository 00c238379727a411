"""What clients get and what backends get is what OpenAI's own description says, whichever API each of them speaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
import uvloop
from emulated_rig import MODEL, Live, emulated
from socket_rig import Client, over

from headrace.emulate import EmulatedBackend
from headrace.http import Exchange
from headrace.wire.apis import APIS, ApiName
from headrace.wire.sse import EventReader
from official import ANSWER_SCHEMAS, REQUEST_SCHEMAS, check, needs_openapi, without_fingerprint

pytestmark = [pytest.mark.usefixtures("backends_of_one_api"), needs_openapi]
EVENT_SCHEMAS = {
    "chat": "CreateChatCompletionStreamResponse",
    "completions": "CreateCompletionResponse",
    "responses": "ResponseStreamEvent",
}
CHATTY = ("chat", "responses", "messages")
SCRIPT = [
    {
        "reasoning": "I look first.",
        "text": "Looking.",
        "calls": [{"name": "read", "arguments": {"path": "é"}}, {"name": "list", "arguments": {}}],
    },
    {"text": "Done: zwölf \U0001f600."},
]
PARAMETERS = {"type": "object", "properties": {"path": {"type": "string"}}}
FORM = {"name": "form", "schema": PARAMETERS, "strict": True}
HI = [{"role": "user", "content": "hi"}]
CHAT_TOOLS = [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("read", "list")]
TOOLS = [{"type": "function", "name": name, "parameters": PARAMETERS, "strict": False} for name in ("read", "list")]
ASKED: dict[str, dict[str, dict[str, Any]]] = {
    "chat": {
        "text": {"messages": HI},
        "tools": {"messages": HI, "tools": CHAT_TOOLS, "tool_choice": "auto", "parallel_tool_calls": True},
        "form": {"messages": HI, "response_format": {"type": "json_schema", "json_schema": FORM}},
        "options": {"messages": HI, "temperature": 0.5, "top_p": 0.9, "user": "u", "reasoning_effort": "low"},
    },
    "completions": {"text": {"prompt": "hi"}, "options": {"prompt": "hi", "temperature": 0.5, "user": "u"}},
    "responses": {
        "text": {"input": "hi"},
        "tools": {"input": "hi", "tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": True},
        "form": {"input": "hi", "text": {"format": {"type": "json_schema", **FORM}}},
        "options": {"input": "hi", "instructions": "be brief", "temperature": 0.5, "reasoning": {"effort": "low"}},
    },
}
CASES = [
    (client, backend, name)
    for client, asked in ASKED.items()
    for backend in (CHATTY if client != "completions" else (*CHATTY, "completions"))
    for name in asked
]
Sent = list[tuple[str, bytes]]


@pytest.fixture(name="sent")
def requests_of_backends(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Path and body of every request that a backend gets."""
    sent: Sent = []
    handle = EmulatedBackend.handle

    def noted(self: EmulatedBackend, exchange: Exchange) -> None:
        if exchange.method == b"POST":
            sent.append((exchange.path.decode(), exchange.body))
        handle(self, exchange)

    monkeypatch.setattr(EmulatedBackend, "handle", noted)
    return sent


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "backend", "name"), CASES)
def test_requests_and_answers(client: ApiName, backend: ApiName, name: str, stream: bool, sent: Sent) -> None:
    async def run() -> None:
        async with emulated(f"only-{backend}", script=SCRIPT) as live:
            ceiling = {"responses": "max_output_tokens", "completions": "max_tokens"}.get(
                client, "max_completion_tokens"
            )
            fields = {"stream": stream, ceiling: 300, **ASKED[client][name]}
            check(REQUEST_SCHEMAS[client], json.dumps({"model": MODEL, **fields}).encode())
            status, _, body, complete = await live.ask(path=APIS[client].path, **fields)
            assert (status, complete) == (200, True), body
            check_answer(client, body, stream)

    uvloop.run(run())
    (asked,) = [body for path, body in sent if path.endswith(APIS[backend].path.removeprefix("/v1"))]
    if backend in REQUEST_SCHEMAS:
        check(REQUEST_SCHEMAS[backend], asked)


def check_answer(client: ApiName, body: bytes, stream: bool) -> None:
    if not stream:
        check(ANSWER_SCHEMAS[client], without_fingerprint(body))
        return
    events = [event for event in EventReader().feed(body) if event != b"[DONE]"]
    assert len(events) > 1
    for event in events:
        if client == "completions":  # the description has no chunks: in one, a choice that goes on has no reason to end
            event = event.replace(b'"finish_reason":null', b'"finish_reason":"stop"')
        check(EVENT_SCHEMAS[client], without_fingerprint(event))


@pytest.mark.parametrize("backend", CHATTY)
@pytest.mark.parametrize("name", ASKED["responses"])
def test_messages_of_a_websocket(backend: ApiName, name: str) -> None:
    async def scenario(client: Client, live: Live) -> None:
        fields = {"stream_id": "lane", "max_output_tokens": 300, **ASKED["responses"][name]}
        check("ResponsesClientEvent", json.dumps({"type": "response.create", "model": MODEL, **fields}).encode())
        prepared = await client.answer(**fields, generate=False)
        failed = await client.answer(input="hi", model="no such")
        for event in (*await client.answer(**fields), *prepared, *failed):
            check("ResponsesServerEvent", json.dumps(event).encode())

    over(scenario, f"only-{backend}", script=SCRIPT)


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("given", ["hi", ["a", "b"], [1, 2], [[1], [2, 3]]])
def test_embeddings(given: Any, encoding: str, sent: Sent) -> None:
    async def run() -> None:
        async with emulated("only-embeddings") as live:
            fields = {"input": given, "encoding_format": encoding}
            status, _, body, _ = await live.ask(path="/v1/embeddings", **fields)
            assert status == 200, body
            if encoding == "float":  # the description has no other encoding of an answer
                check("CreateEmbeddingResponse", body)

    uvloop.run(run())
    for path, body in sent:
        if path.endswith("/embeddings"):
            check("CreateEmbeddingRequest", body)


@pytest.mark.parametrize("client", ["chat", "completions", "responses", "embeddings"])
@pytest.mark.parametrize("body", [b"{", b"{}", b'{"model":"no such"}', b'{"model":1}'])
def test_errors(client: str, body: bytes) -> None:
    async def run() -> bytes:
        async with emulated("only-chat") as live:
            path = {"embeddings": "/v1/embeddings"}.get(client) or APIS[client].path  # type: ignore[index]
            status, _, answered, _ = await live.ask(path=path, raw=body)
            assert status in (400, 404)
            return answered

    check("ErrorResponse", uvloop.run(run()))


def test_models() -> None:
    async def run() -> None:
        async with emulated("only-chat") as live:
            _, _, models = await live.get("/v1/models")
            check("ListModelsResponse", models)
            for entry in json.loads(models)["data"]:
                status, _, one = await live.get(f"/v1/models/{entry['id']}")
                assert status == 200
                check("Model", one)

    uvloop.run(run())
