"""Numbers of a fleet file by their path: found by a pattern, set, multiplied.

A path is what messages about the file call the setting (`pools.fast.price.output_usd_per_mtok`,
`pools.h100.backends[0].max_in_flight`). In a pattern `*` stands for any text within one part of it, so
`pools.*.price.*_usd_per_mtok` is every list price.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Number = int | float
Document = dict[str, Any]  # a TOML document as `tomllib` reads it


def numbers(document: Mapping[str, object]) -> dict[str, Number]:
    """Every number of the document by its path, in the order of the file."""
    return dict(_walk(document, ""))


def matching(document: Mapping[str, object], pattern: str) -> list[str]:
    """The paths of the document's numbers that the pattern stands for."""
    expression = re.compile(re.escape(pattern).replace(r"\*", r"[^.]*"))
    return [path for path in numbers(document) if expression.fullmatch(path)]


def with_numbers(document: Document, changed: Mapping[str, Number]) -> Document:
    """A copy of the document with the numbers at these paths replaced; a path that it lacks is left out."""
    copied: Document = _copy(document, "", changed)
    return copied


def with_setting(document: Document, path: str, value: Number) -> Document | None:
    """A copy with one setting added to a table that exists; None: there is no such table, or the path is taken."""
    for key, child in document.items():
        if isinstance(child, dict) and path.startswith(f"{key}."):
            inner = with_setting(child, path[len(key) + 1 :], value)
            if inner is not None:
                return {**document, key: inner}
    return None if "." in path or path in document else {**document, path: value}


def _walk(value: object, path: str) -> Iterator[tuple[str, Number]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _walk(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _walk(child, f"{path}[{index}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _copy(value: Any, path: str, changed: Mapping[str, Number]) -> Any:
    if isinstance(value, dict):
        return {key: _copy(child, f"{path}.{key}" if path else key, changed) for key, child in value.items()}
    if isinstance(value, list):
        return [_copy(child, f"{path}[{index}]", changed) for index, child in enumerate(value)]
    return changed.get(path, value)
