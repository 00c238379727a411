"""Capabilities that a model or its server may lack, and how a request of any API shows that it needs one.

Dialects say what a provider's server can do; what the model behind it can do, only the operator knows: `lacks` of a
backend in the fleet file. A request is looked at only where a backend that might serve it lacks something.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

Fields = dict[str, Raw]
PREFILL = "prefill"
_NOTHING = frozenset((b"null", b"[]", b"{}", b"false", b"0", b""))
_IMAGES = (b'"image_url"', b'"input_image"', b'"type":"image"', b'"type": "image"')


def _given(*names: str) -> Callable[[Fields], str | None]:
    return lambda fields: next((name for name in names if bytes(fields.get(name, b"")) not in _NOTHING), None)


def _holding(names: tuple[str, ...], *marks: bytes) -> Callable[[Fields], str | None]:
    """The first of these fields that holds a mark: inside a string its quotes would be escaped."""

    def holds(fields: Fields) -> str | None:
        for name in names:
            value = bytes(fields.get(name, b""))
            if any(value.find(mark) >= 0 for mark in marks):
                return name
        return None

    return holds


def _choices(fields: Fields) -> str | None:
    return "n" if bytes(fields.get("n", b"1")) not in (b"1", b"null") else None


def _logprobs(fields: Fields) -> str | None:
    asked = _given("logprobs", "top_logprobs")(fields)
    return asked or _holding(("include",), b'"message.output_text.logprobs"')(fields)


CAPABILITIES: dict[str, Callable[[Fields], str | None]] = {
    "tools": _given("tools"),
    "images": _holding(("messages", "input"), *_IMAGES),
    "json_schema": _holding(("response_format", "text", "output_config"), b'"json_schema"'),
    "logprobs": _logprobs,
    "choices": _choices,
    PREFILL: lambda fields: None,  # what goes on with an answer needs it; a client's request is the client's affair
}  # each gives the name of the field that asks for it
