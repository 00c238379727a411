"""OpenAI's own description of its API, as JSON Schema."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

OPENAPI = Path(__file__).parents[2] / "shared" / "data" / "openai-openapi" / "openapi.json"
needs_openapi = pytest.mark.skipif(not OPENAPI.exists(), reason=f"the official OpenAPI description is not at {OPENAPI}")
REQUEST_SCHEMAS = {
    "chat": "CreateChatCompletionRequest",
    "completions": "CreateCompletionRequest",
    "responses": "CreateResponse",
}
ANSWER_SCHEMAS = {
    "chat": "CreateChatCompletionResponse",
    "completions": "CreateCompletionResponse",
    "responses": "Response",
}


@functools.cache
def description() -> Registry[Any]:
    page = as_json_schema(json.loads(OPENAPI.read_bytes()))
    return Registry().with_resource("urn:openai", Resource(page, DRAFT202012))


@functools.cache
def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"urn:openai#/components/schemas/{name}"}, registry=description())


def as_json_schema(node: Any) -> Any:
    """OpenAPI's own words as JSON Schema's: `nullable` allows null; of `oneOf` a discriminator picks: any will do."""
    if isinstance(node, list):
        return [as_json_schema(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    found = {"anyOf" if key == "oneOf" else key: as_json_schema(inner) for key, inner in node.items()}
    return {"anyOf": [found, {"type": "null"}]} if node.get("nullable") is True else found


def check(name: str, body: bytes) -> None:
    faults = [f"{list(fault.path)}: {fault.message[:300]}" for fault in schema(name).iter_errors(json.loads(body))]
    assert not faults, f"{name}: {faults}"


def without_fingerprint(body: bytes) -> bytes:
    """Chat answers have `system_fingerprint: null`, which an SDK needs and the description does not have."""
    return body.replace(b'"system_fingerprint":null,', b"")
