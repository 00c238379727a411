"""JSON Schema of the structs that requests are decoded with: the page that describes an API says what is decoded.

msgspec has a generator of its own, but it wants defaults in JSON, and the default of a field of any type here is not
(`body.NULL`). Fields that may be left out have no default in the schema: what it is, is the backend's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

Schema = dict[str, Any]
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


class StructSchemas:
    """Schemas of structs, each under a name of its own in `components`.

    Args:
        prefix: before the names of the structs, which are private to their modules.
        place: where the schemas are, for references.
    """

    def __init__(self, prefix: str, place: str = "#/components/schemas/") -> None:
        self.components: dict[str, Schema] = {}
        self._prefix = prefix
        self._place = place
        self._of: dict[type, Callable[[Any], Schema]] = {
            inspect.AnyType: lambda _: {},
            inspect.RawType: lambda _: {},
            inspect.NoneType: lambda _: {"type": "null"},
            inspect.BoolType: lambda _: {"type": "boolean"},
            inspect.IntType: lambda kind: {"type": "integer"} | _bounds(kind),
            inspect.FloatType: lambda kind: {"type": "number"} | _bounds(kind),
            inspect.StrType: lambda _: {"type": "string"},
            inspect.LiteralType: lambda kind: {"enum": list(kind.values)},
            inspect.ListType: lambda kind: {"type": "array", "items": self._schema(kind.item_type)},
            inspect.VarTupleType: lambda kind: {"type": "array", "items": self._schema(kind.item_type)},
            inspect.DictType: lambda kind: {"type": "object", "additionalProperties": self._schema(kind.value_type)},
            inspect.UnionType: self._union,
            inspect.StructType: self._struct,
        }

    def add(self, kind: type[msgspec.Struct]) -> Schema:
        """A reference to the schema of a struct."""
        return self._schema(inspect.type_info(kind))

    def _schema(self, kind: inspect.Type) -> Schema:
        return self._of[type(kind)](kind)

    def _union(self, kind: inspect.UnionType) -> Schema:
        kinds = [each for each in kind.types if not isinstance(each, inspect.CustomType)]
        return {"anyOf": [self._schema(each) for each in kinds]} if len(kinds) > 1 else self._schema(kinds[0])

    def _struct(self, kind: inspect.StructType) -> Schema:
        name = self._prefix + kind.cls.__name__.lstrip("_")
        if name not in self.components:
            schema: Schema = {"type": "object"}
            self.components[name] = schema  # before its fields: a struct may hold itself
            schema["properties"] = {field.encode_name: self._schema(field.type) for field in kind.fields}
            required = [field.encode_name for field in kind.fields if field.required]
            if required:
                schema["required"] = required
            if kind.forbid_unknown_fields:
                schema["additionalProperties"] = False
        return {"$ref": self._place + name}


def _bounds(kind: inspect.IntType | inspect.FloatType) -> Schema:
    found = {name: getattr(kind, ours) for ours, name in _BOUNDS.items()}
    return {name: bound for name, bound in found.items() if bound is not None}
