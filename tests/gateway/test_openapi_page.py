"""`/openapi.json` describes what is served: no endpoint is missing, and what it says of answers is so."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import uvloop
from emulated_rig import Live, emulated
from jsonschema import Draft202012Validator

from headrace.gateway.routes import GROQ, Routes

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 300},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/embeddings": {"input": "hi"},
}


async def page_of(live: Live) -> dict[str, Any]:
    status, headers, body = await live.get("/openapi.json")
    assert (status, headers[b"content-type"]) == (200, b"application/json")
    return dict(json.loads(body))


def test_every_endpoint_is_described_and_nothing_else() -> None:
    async def run() -> None:
        async with emulated("openai", "anthropic") as live:
            page = await page_of(live)
            routes = Routes(live.gateway.gateway)
            served = {
                (path.decode(), method.decode().lower())
                for path, (method, _) in routes._public.items()
                if not path.startswith(GROQ)  # the same once more, where one SDK looks for it
            }
            served |= {("/v1/models/{model}", "get"), ("/v1/responses", "get")}
            stored = "/v1/responses/{response_id}"
            served |= {(stored, "get"), (stored, "delete"), (f"{stored}/input_items", "get")}
            described = {
                (p, m): said for p, item in page["paths"].items() for m, said in item.items() if m != "parameters"
            }
            assert set(described) == served
            operations = [operation["operationId"] for operation in described.values()]
            assert len(set(operations)) == len(operations)
            ids = [entry["id"] for entry in json.loads((await live.get("/v1/models"))[2])["data"]]
            schemas = page["components"]["schemas"]
            for name in (name for name in schemas if name.endswith("WireRequest")):
                assert schemas[name]["properties"]["model"]["enum"] == ids

    uvloop.run(run())


def test_references_lead_somewhere_and_schemas_are_schemas() -> None:
    async def run() -> dict[str, Any]:
        async with emulated("openai") as live:
            return await page_of(live)

    page = uvloop.run(run())

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                found: Any = page
                for step in node["$ref"].removeprefix("#/").split("/"):
                    found = found[step]
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(page)
    for schema in page["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("dialects", [("openai", "anthropic"), ("vllm",), ("anthropic",)])
def test_answers_and_errors_are_what_the_page_says(dialects: tuple[str, ...]) -> None:
    async def run() -> None:
        async with emulated(*dialects) as live:
            page = await page_of(live)

            def check(path: str, method: str, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
                operation = page["paths"][path][method]
                said = operation["responses"].get(str(status)) or operation["responses"]["default"]
                kind = headers[b"content-type"].decode().partition(";")[0]
                schema = said["content"][kind].get("schema", {}) | {"components": page["components"]}
                Draft202012Validator(schema).validate(body.decode() if kind.startswith("text/") else json.loads(body))
                told = {name.decode() for name in headers if name.startswith(b"x-headrace-")}
                assert told <= page["components"]["headers"].keys()

            for path, fields in BODIES.items():
                for body in (fields, {**fields, "stream": True}, {**fields, "model": "none"}, {"model": 1}, []):
                    raw = None if isinstance(body, dict) else json.dumps(body).encode()
                    fields_sent = body if isinstance(body, dict) else {}
                    headers = "x-headrace-explain: 1\r\n"
                    status, answered, content, _ = await live.ask(path=path, raw=raw, headers=headers, **fields_sent)
                    check(path, "post", status, answered, content)
            for path, item in page["paths"].items():
                if "get" in item:
                    check(path, "get", *await live.get(path.replace("{model}", "no%20such")))

    uvloop.run(run())


def test_the_page_stays_what_it_is_and_has_a_head() -> None:
    async def run() -> None:
        async with emulated("openai") as live:
            assert (await live.get("/openapi.json"))[2] == (await live.get("/openapi.json"))[2]
            reader, writer = await asyncio.open_connection("127.0.0.1", live.gateway.port)
            writer.write(b"HEAD /openapi.json HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200")
            assert answer.endswith(b"\r\n\r\n"), "no body"
            writer.close()

    uvloop.run(run())
