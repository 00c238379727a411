"""`/openapi.json`: every endpoint of the clients' port, as an OpenAPI 3.1 page.

What a request may hold is what it is decoded with (`wire.apis`, `controls`), made into JSON Schema; what an answer
holds is described as far as every backend's has it, because an answer that passes is the backend's own. Model names
are those of the fleet. The page is made when it is first asked for, and kept.

Source: OpenAPI Specification 3.1.0. It has no words for a WebSocket: only the handshake is described.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec

from headrace.gateway import controls
from headrace.gateway.recognition import CLASS_HEADER
from headrace.wire import ApiName
from headrace.wire.apis import APIS, embeddings
from headrace.wire.struct_schema import StructSchemas

Json = dict[str, Any]
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_HEADERS = {
    "x-headrace-backend": "the backend that answered",
    "x-headrace-class": "the workload class of the request",
    "x-headrace-request-id": "names the request in journal and ledger",
    "x-headrace-dropped": "fields of the request that were left out on the way to the backend",
    "x-headrace-approximated": "fields that the backend got as something near them",
    "x-headrace-explain": "the priced table of candidates, as JSON, if it was asked for",
    "x-headrace-emulated": "1: the answer is no model's",
}
_ASKS = {
    CLASS_HEADER: "workload_class",
    controls.DEADLINE: "deadline_s",
    controls.VALUE: "value_of_time_usd_per_s",
    controls.POOL: "pool",
    controls.EXPLAIN: "explain",
}
_ERRORS = {
    400: "the request can never succeed as it is",
    404: "there is no such model",
    413: "the body is larger than `max_body_bytes`",
    429: "too many requests wait, or the backend's quota is used up: `retry-after` says when to ask again",
    503: "nothing is free, or nothing is up: `retry-after` says when to ask again",
    504: "the deadline has passed",
}
_SUMMARIES: dict[ApiName, str] = {
    "chat": "OpenAI chat completions",
    "completions": "OpenAI completions (legacy)",
    "responses": "OpenAI Responses",
    "messages": "Anthropic Messages",
    "embeddings": "OpenAI embeddings",
}


def _object(required: Iterable[str] = (), **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


_ANSWERS: dict[ApiName, Json] = {
    "chat": _object(["choices"], id=_TEXT, object=_TEXT, model=_TEXT, choices=_list(_object()), usage=_object()),
    "completions": _object(["choices"], id=_TEXT, object=_TEXT, model=_TEXT, choices=_list(_object())),
    "responses": _object(["id", "output"], id=_TEXT, object=_TEXT, model=_TEXT, status=_TEXT, output=_list(_object())),
    "messages": _object(["content"], id=_TEXT, type=_TEXT, role=_TEXT, model=_TEXT, content=_list(_object())),
    "embeddings": _object(["data"], object=_TEXT, model=_TEXT, data=_list(_object(["embedding"])), usage=_object()),
}
_MODEL = _object(
    ["id", "object", "type", "headrace"],
    id=_TEXT,
    object={"const": "model"},
    type={"const": "model"},
    created=_COUNT,
    owned_by=_TEXT,
    display_name=_TEXT,
    created_at=_TEXT,
    headrace=_object(
        ["model", "apis", "context_tokens"],
        model=_TEXT,
        apis=_list(_TEXT),
        context_tokens=_COUNT,
        fallbacks=_list(_TEXT),
        lacks=_list(_TEXT),
    ),
)
_ERROR = _object(
    ["error"],
    error=_object(
        ["message", "type"], message=_TEXT, type=_TEXT, param={}, code={"type": ["string", "integer", "null"]}
    ),
)
_MESSAGES_ERROR = _object(
    ["type", "error"], type={"const": "error"}, error=_object(["type", "message"], type=_TEXT, message=_TEXT)
)
_MODELS = _object(["object", "data"], object={"const": "list"}, data=_list({"$ref": "#/components/schemas/Model"}))


class OpenApiPage:
    """The page of one gateway.

    Args:
        paths: where each API is served.
        models, classes, pools: every name that a client may ask for.
        version: of headrace.
    """

    def __init__(
        self,
        paths: dict[bytes, ApiName],
        *,
        models: Iterable[str],
        classes: Iterable[str],
        pools: Iterable[str],
        version: str,
    ) -> None:
        self._apis = {path.decode(): api for path, api in paths.items()}
        self._models = {"type": "string", "enum": list(models)}
        self._names: Json = {"class": {"enum": list(classes)}, "pool": {"enum": list(pools)}}
        self._version = version
        self._schemas: Json = {"Error": _ERROR, "MessagesError": _MESSAGES_ERROR, "Model": _MODEL}

    @cached_property
    def body(self) -> bytes:
        """The page, encoded."""
        return msgspec.json.encode(self.page())

    def page(self) -> Json:
        """The page."""
        asked = self._parameters()
        paths: Json = {path: {"post": self._api(path, api, asked)} for path, api in self._apis.items()}
        paths["/v1/responses"]["get"] = _handshake()
        paths["/v1/messages/count_tokens"] = {"post": self._count_tokens()}
        paths |= _pages()
        return {
            "openapi": "3.1.0",
            "info": {"title": "headrace", "version": self._version, "license": {"name": "Apache-2.0"}},
            "servers": [{"url": "/"}],
            "security": [{}, {"bearer": []}, {"key": []}],
            "paths": paths,
            "components": {
                "schemas": self._schemas,
                "parameters": asked,
                "headers": {name: {"description": said, "schema": _TEXT} for name, said in _HEADERS.items()},
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                },
            },
        }

    def _parameters(self) -> Json:
        """Headers by which a request asks something of headrace, with the schemas of the fields that mean the same."""
        schemas = StructSchemas("")
        schemas.add(controls.Controls)
        self._schemas |= schemas.components
        fields = schemas.components["Controls"]["properties"]
        fields |= {name: {"anyOf": [names, {"type": "null"}]} for name, names in self._names.items()}
        names = {field.name: field.encode_name for field in msgspec.structs.fields(controls.Controls)}
        return {
            header.decode(): {
                "name": header.decode(),
                "in": "header",
                "description": f"as `headrace.{names[field]}` of the body, before which it goes",
                "schema": {"enum": ["1", "true"]} if field == "explain" else _without_null(fields[names[field]]),
            }
            for header, field in _ASKS.items()
        }

    def _api(self, path: str, api: ApiName, asked: Json) -> Json:
        kind = embeddings.WireRequest if api == "embeddings" else APIS[api].wire_request
        content = _content(_ANSWERS[api])
        if api != "embeddings":
            content["text/event-stream"] = {}
        answer = {"description": "the answer", "headers": _answer_headers(), "content": content}
        return {
            "operationId": api,
            "summary": _SUMMARIES[api],
            "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in asked],
            "requestBody": {"required": True, "content": _content(self._request(api, kind))},
            "responses": {"200": answer, **_errors(api)},
        }

    def _count_tokens(self) -> Json:
        request = {"$ref": "#/components/schemas/messagesWireRequest"}
        answer = _object(["input_tokens"], input_tokens=_COUNT)
        return {
            "operationId": "count_tokens",
            "summary": "How many input tokens a request of the Messages API would be, by estimate",
            "requestBody": {"required": True, "content": _content(request)},
            "responses": {"200": {"description": "the estimate", "content": _content(answer)}, **_errors("messages")},
        }

    def _request(self, api: ApiName, kind: type[msgspec.Struct]) -> Json:
        schemas = StructSchemas(api)
        reference = schemas.add(kind)
        self._schemas |= schemas.components
        fields = self._schemas[f"{api}WireRequest"]["properties"]
        fields["model"] = self._models
        fields["headrace"] = {"$ref": "#/components/schemas/Controls"}
        return reference


def _content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _answer_headers() -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}


def _errors(api: ApiName) -> Json:
    """The errors that headrace itself answers with, and `default`: those of backends have the same shape."""
    content = _content({"$ref": f"#/components/schemas/{'MessagesError' if api == 'messages' else 'Error'}"})
    said = {str(status): {"description": text, "content": content} for status, text in _ERRORS.items()}
    return said | {"default": {"description": "another error, in the same shape", "content": content}}


def _without_null(schema: Json) -> Json:
    """A header is not null: it is not there."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 else schema


def _handshake() -> Json:
    return {
        "operationId": "responses_socket",
        "summary": "OpenAI Responses over a WebSocket: `response.create` messages, answered by events",
        "responses": {
            "101": {"description": "the connection speaks WebSocket from here on"},
            **{status: said for status, said in _errors("responses").items() if status in ("400", "default")},
        },
    }


def _pages() -> Json:
    """What is asked for with GET."""
    health = _object(["status"], status={"const": "ok"})
    name = {"name": "model", "in": "path", "required": True, "schema": _TEXT}
    model = _get("model", "One model", _content({"$ref": "#/components/schemas/Model"}))
    model["get"] |= {"parameters": [name]}
    return {
        "/v1/models": _get("models", "Every model that can be asked for", _content(_MODELS)),
        "/v1/models/{model}": model,
        **_stored(),
        "/": _get("root", "Whether this gateway is there", _content(health)),
        "/health": _get("health", "Whether this gateway is there", _content(health)),
        "/metrics": _get("metrics", "Metrics for Prometheus", {"text/plain": {"schema": _TEXT}}),
        "/openapi.json": _get("openapi", "This page", _content(_object(["openapi", "paths"]))),
    }


def _stored() -> Json:
    """What may be done with a stored answer of the Responses API."""
    name = {"name": "response_id", "in": "path", "required": True, "schema": _TEXT}
    one = _get("response", "A stored answer", _content(_ANSWERS["responses"]))
    gone = _object(["id", "deleted"], id=_TEXT, object={"const": "response"}, deleted={"const": True})
    one |= {"delete": _get("delete_response", "Forget a stored answer", _content(gone))["get"]}
    items = _get("input_items", "The conversation before a stored answer", _content(_object(["data"], data=_list({}))))
    return {
        "/v1/responses/{response_id}": one | {"parameters": [name]},
        "/v1/responses/{response_id}/input_items": items | {"parameters": [name]},
    }


def _get(operation: str, summary: str, content: Json) -> Json:
    errors = {status: said for status, said in _errors("chat").items() if status in ("404", "default")}
    answer = {"200": {"description": summary, "content": content}}
    return {"get": {"operationId": operation, "summary": summary, "responses": answer | errors}}
