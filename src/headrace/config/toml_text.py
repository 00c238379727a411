"""Writes a document as TOML, with comments: what `tomllib` reads back to the same document.

Only what documents of headrace hold: tables, arrays of tables, arrays of plain values, strings, numbers, booleans and
dates. Tables come in the order in which they are given, the plain settings of a table before its tables.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping

from headrace.errors import ConfigError, Fault

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

Comments = Mapping[str, str]
Document = Mapping[str, object]


def toml_text(document: Document, comments: Comments | None = None) -> str:
    """The document as TOML.

    Args:
        comments: by path (`pools.h100`, `pools.h100.backends[0]`, `shares.fast.target`; the empty path: the file). A
            setting's comment stands behind it if it is one line, any other above.

    Raises:
        ConfigError: a comment's path is not in the document.
    """
    writer = _Writer(dict(comments or {}))
    text = "\n".join(writer.file(document)).strip("\n") + "\n"
    if writer.comments:
        faults = [Fault(path, "the document has no such table or setting to comment") for path in writer.comments]
        raise ConfigError("comments", faults)
    return text


class _Writer:
    """Takes each comment out of `comments` as it writes it."""

    def __init__(self, comments: dict[str, str]) -> None:
        self.comments = comments

    def file(self, document: Document) -> Iterator[str]:
        """Every line."""
        yield from self._above("")
        yield from self._body("", (), document)

    def _body(self, path: str, keys: tuple[str, ...], table: Document) -> Iterator[str]:
        for key, value in table.items():
            if not _is_nested(value):
                yield from self._setting(_join(path, key), key, value)
        for key, value in table.items():
            if isinstance(value, Mapping):
                yield from self._table(_join(path, key), (*keys, key), value)
            elif _is_nested(value) and isinstance(value, list):
                yield from self._array(_join(path, key), (*keys, key), value)

    def _setting(self, path: str, key: str, value: object) -> Iterator[str]:
        text = self.comments.pop(path, "")
        if "\n" in text:
            yield from _comment(text)
        yield f"{_key(key)} = {_value(value)}" + (f"  # {text}" if text and "\n" not in text else "")

    def _table(self, path: str, keys: tuple[str, ...], table: Document) -> Iterator[str]:
        commented = path in self.comments
        if commented:
            yield ""
            yield from self._above(path)
        if not table or any(not _is_nested(value) for value in table.values()):
            if not commented:
                yield ""
            yield f"[{'.'.join(map(_key, keys))}]"
        yield from self._body(path, keys, table)

    def _array(self, path: str, keys: tuple[str, ...], tables: list[Document]) -> Iterator[str]:
        for index, table in enumerate(tables):
            yield ""
            yield from self._above(f"{path}[{index}]")
            yield f"[[{'.'.join(map(_key, keys))}]]"
            yield from self._body(f"{path}[{index}]", keys, table)

    def _above(self, path: str) -> Iterator[str]:
        if path in self.comments:
            yield from _comment(self.comments.pop(path))


def _is_nested(value: object) -> bool:
    """Whether it is a table or an array of tables; an empty array is a plain value."""
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _comment(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield f"# {line}".rstrip()


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    raise ConfigError("document", [Fault("value", f"{value!r} cannot be written as TOML")])


def _string(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL, which TOML wants escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _string(key)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
