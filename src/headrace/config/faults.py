"""Convert raw tables into structs and report *every* fault of them, each with its path.

msgspec stops at the first fault of a value, so a table is taken apart: each field is converted on its own, and tables
within tables likewise. A table with a fault converts to None; the caller goes on with the others.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from headrace.errors import Fault
from headrace.fleet.catalog import close_matches

T = TypeVar("T", bound=msgspec.Struct)


class Faults:
    """Collects faults. `table` converts; `add` notes what the caller found itself."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, path: str, message: str) -> None:
        """Note one fault."""
        self._faults.append(Fault(path, message))

    def all(self) -> tuple[Fault, ...]:
        """Every fault so far, in the order found, none twice."""
        return tuple(dict.fromkeys(self._faults))

    def table(self, raw: object, kind: type[T], path: str) -> T | None:
        """`raw` as a `kind`, or None when a field of it has a fault (all of them are noted)."""
        if not isinstance(raw, Mapping):
            self.add(path, f"expected a table, got {_type_name(raw)}")
            return None
        before = len(self)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        tag_field = kind.__struct_config__.tag_field
        for key in raw:
            if key not in fields and key != tag_field:
                self.add(_join(path, key), f"unknown setting; {close_matches(key, fields)}")
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in raw:
                values[field.name] = self._value(raw[name], field.type, _join(path, name))
            elif field.required:
                self.add(_join(path, name), "missing; it has no default")
        return kind(**values) if len(self) == before else None

    def tables(self, raw: object, kind: type[T], path: str) -> dict[str, T | None]:
        """A table of named tables: each name with its struct, or with None when that one has a fault."""
        if not isinstance(raw, Mapping):
            self.add(path, f"expected tables [{path}.NAME], got {_type_name(raw)}")
            return {}
        return {name: self.table(value, kind, _join(path, name)) for name, value in raw.items()}

    def tagged(self, raw: object, kinds: Sequence[type[msgspec.Struct]], path: str) -> msgspec.Struct | None:
        """`raw` as the one of `kinds` that its tag names, or None when it has a fault (all of them are noted)."""
        tag_field = str(kinds[0].__struct_config__.tag_field)
        by_tag = {str(kind.__struct_config__.tag): kind for kind in kinds}
        if not isinstance(raw, Mapping):
            self.add(path, f"expected a table, got {_type_name(raw)}")
            return None
        tag = raw.get(tag_field)
        if not isinstance(tag, str) or tag not in by_tag:
            said = f"{tag!r} is none of them" if tag_field in raw else "missing"
            self.add(_join(path, tag_field), f"{said}; write one of {', '.join(map(repr, by_tag))}")
            return None
        return self.table(raw, by_tag[tag], path)

    def _value(self, raw: object, kind: Any, path: str) -> Any:
        struct_types = _structs_in(kind)
        if isinstance(raw, bool) and bool in get_args(kind):
            return raw
        if len(struct_types) > 1:
            return self.tagged(raw, struct_types, path)
        if struct_types and get_origin(kind) is list:
            return self._array(raw, struct_types[0], path)
        if struct_types:
            return self.table(raw, struct_types[0], path)
        return self._plain(raw, kind, path)

    def _array(self, raw: object, kind: type[msgspec.Struct], path: str) -> list[Any]:
        if not isinstance(raw, list):
            self.add(path, f"expected an array of tables [[{path}]], got {_type_name(raw)}")
            return []
        return [self.table(item, kind, f"{path}[{index}]") for index, item in enumerate(raw)]

    def _plain(self, raw: object, kind: Any, path: str) -> Any:
        if isinstance(raw, float) and not math.isfinite(raw):
            self.add(path, f"{raw} is not a finite number")
            return None
        try:
            return msgspec.convert(raw, kind, strict=True)
        except msgspec.ValidationError as error:
            message, _, inner = str(error).partition(" - at `$")
            self.add(path + inner.rstrip("`"), f"{message[0].lower()}{message[1:]}")
            return None


def _structs_in(kind: Any) -> list[type[msgspec.Struct]]:
    """The struct types that a field's type holds: itself, those of a union, or the item of a list."""
    if get_origin(kind) is Annotated:
        return _structs_in(get_args(kind)[0])
    if isinstance(kind, type) and not get_args(kind) and issubclass(kind, msgspec.Struct):
        return [kind]
    if get_origin(kind) in (Union, types.UnionType, list):
        return [found for part in get_args(kind) for found in _structs_in(part)]
    return []


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _type_name(raw: object) -> str:
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a number", list: "an array"}
    return names.get(type(raw), type(raw).__name__)
