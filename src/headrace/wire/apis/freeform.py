"""Free text of a custom tool that travels as a JSON object: `{"input": "..."}`, taken apart while it streams.

The text is wanted as it comes, so the string is decoded piece by piece. A piece may end inside an escape or between the
two halves of a surrogate pair; what is not whole yet waits. Arguments that are no such object are handed on as they
are: a model that forgot the wrapping has still said what it wanted.
"""

from __future__ import annotations

import re

import msgspec

_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_MAY_BE_HEAD = re.compile(r'\s*(?:\{\s*(?:"(?:i(?:n(?:p(?:u(?:t(?:"\s*(?::\s*)?)?)?)?)?)?)?)?)?')
_WHOLE = re.compile(
    r'(?:[^"\\]|\\(?:u(?![dD][89abAB])[0-9a-fA-F]{4}|u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}|[^u]))*'
)


class Unwrapper:
    """Takes the `input` out of one call's arguments."""

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held = ""
        self._state = "head"  # then "text" and "after", or "raw"

    def feed(self, piece: str) -> str:
        """The free text that is complete with this piece of the arguments."""
        if self._state == "raw":
            return piece
        if self._state == "after":
            return ""
        self._held += piece
        if self._state == "head":
            return self._find_head()
        return self._take_text()

    def close(self) -> str:
        """What is left when the arguments are complete."""
        rest, self._held = self._held, ""
        return rest if self._state in ("head", "text") else ""

    def _find_head(self) -> str:
        head = _HEAD.match(self._held)
        if head is not None:
            self._held = self._held[head.end() :]
            self._state = "text"
            return self._take_text()
        if _MAY_BE_HEAD.fullmatch(self._held):
            return ""
        self._state, text, self._held = "raw", self._held, ""
        return text

    def _take_text(self) -> str:
        whole = _WHOLE.match(self._held)
        end = whole.end() if whole is not None else 0
        text, self._held = self._held[:end], self._held[end:]
        if self._held.startswith('"'):
            self._state, self._held = "after", ""
        return _decoded(text)


def _decoded(text: str) -> str:
    """A piece of a JSON string without its quotes; as it is where it is no valid JSON."""
    if "\\" not in text:
        return text
    try:
        return msgspec.json.decode(f'"{text}"', type=str, strict=False)
    except (msgspec.DecodeError, UnicodeError):
        return text


def unwrapped(arguments: str) -> str:
    """The free text of a whole call's arguments."""
    unwrapper = Unwrapper()
    return unwrapper.feed(arguments) + unwrapper.close()
