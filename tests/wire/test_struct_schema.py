"""The schema of a struct takes what its decoder takes."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec import Meta, Raw
from wire_rig import API_NAMES, recorded

from headrace.wire.apis import APIS, ApiName, embeddings
from headrace.wire.body import NULL
from headrace.wire.struct_schema import StructSchemas


class Inner(msgspec.Struct, forbid_unknown_fields=True, rename={"kind": "type"}):
    kind: Literal["a", "b"]
    inner: Inner | None = None


class Outer(msgspec.Struct):
    name: str
    number: Annotated[float, Meta(gt=0, le=2)] | None = None
    count: Annotated[int, Meta(ge=1)] = 1
    raw: Raw = NULL
    items: list[Inner] = []
    table: dict[str, bool] = {}
    pair: tuple[str | int, ...] = ()


def validator(kind: type[msgspec.Struct], prefix: str = "") -> Draft202012Validator:
    schemas = StructSchemas(prefix)
    page = schemas.add(kind) | {"components": {"schemas": schemas.components}}
    Draft202012Validator.check_schema(page)
    return Draft202012Validator(page)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "n"},
        {},
        {"name": 1},
        {"name": "n", "number": 0},
        {"name": "n", "number": 2, "unknown": 1},
        {"name": "n", "number": None, "raw": [1, {}]},
        {"name": "n", "count": 0},
        {"name": "n", "count": None},
        {"name": "n", "items": [{"type": "a", "inner": {"type": "b"}}]},
        {"name": "n", "items": [{"type": "c"}]},
        {"name": "n", "items": [{"type": "a", "kind": "a"}]},
        {"name": "n", "table": {"x": True}, "pair": ["a", 1]},
        {"name": "n", "table": {"x": 1}},
        {"name": "n", "pair": [1.5]},
        [],
    ],
)
def test_schema_and_decoder_agree(value: object) -> None:
    try:
        msgspec.json.decode(json.dumps(value).encode(), type=Outer)
        decodes = True
    except msgspec.ValidationError:
        decodes = False
    assert validator(Outer).is_valid(value) == decodes


@pytest.mark.parametrize("api", API_NAMES)
def test_what_clients_send_is_what_the_schema_says(api: ApiName) -> None:
    request = json.loads(recorded(f"{api}.request.json"))
    of_api = validator(APIS[api].wire_request, api)
    assert of_api.is_valid(request)
    assert not of_api.is_valid({key: value for key, value in request.items() if key != "model"})


def test_embeddings_too() -> None:
    assert validator(embeddings.WireRequest).is_valid({"model": "m", "input": [[1, 2]]})
