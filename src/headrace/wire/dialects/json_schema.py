"""Whether a JSON schema lies in the subset that a backend keeps to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from headrace.wire.dialects.dialect import SchemaSubset

_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLES = ("items", "additionalProperties", "not", "if", "then", "else", "contains")


def schema_fault(asked: bytes, subset: SchemaSubset) -> str | None:
    """What of the schema in `asked` (`response_format` or `output_config`) is outside `subset`, and where; or None."""
    try:
        format_ = msgspec.json.decode(asked)
    except (msgspec.DecodeError, RecursionError):
        return None
    found = _schema(format_)
    if found is None or (subset.strict_only and not found[1]):
        return None
    return next(_faults(found[0], subset, "$"), None)


def _schema(asked: Any) -> tuple[Mapping[str, Any], bool] | None:
    """(schema, strict) of `{json_schema: {schema, strict}}` or `{format: {type, schema}}`."""
    if not isinstance(asked, dict):
        return None
    inner = asked.get("json_schema") or asked.get("format") or {}
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return (schema, inner.get("strict") is True) if isinstance(schema, dict) else None


def _faults(schema: Mapping[str, Any], subset: SchemaSubset, path: str) -> Iterator[str]:
    for keyword in schema:
        if keyword in subset.refused:
            yield f"{path}.{keyword} is not supported"
    if schema.get("type") == "object" or "properties" in schema:
        if subset.closed_objects and schema.get("additionalProperties") is not False:
            yield f"{path} must say additionalProperties: false"
        properties, required = schema.get("properties"), schema.get("required", [])
        if subset.all_required and isinstance(properties, dict) and isinstance(required, list):
            yield from (f"{path}.properties.{name} must be required" for name in properties if name not in required)
    for below, part in _parts(schema):
        yield from _faults(part, subset, f"{path}.{below}")


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for keyword in _MAPS:
        below = schema.get(keyword)
        if isinstance(below, dict):
            yield from ((f"{keyword}.{name}", part) for name, part in below.items() if isinstance(part, dict))
    for keyword in _LISTS:
        below = schema.get(keyword)
        if isinstance(below, list):
            yield from ((f"{keyword}[{i}]", part) for i, part in enumerate(below) if isinstance(part, dict))
    for keyword in _SINGLES:
        part = schema.get(keyword)
        if isinstance(part, dict):
            yield keyword, part
