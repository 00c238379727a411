"""Request bodies: strict decoding, and the one error for what cannot be decoded.

msgspec stops at the first fault and says where it is; that place becomes the error's `param`. Text that is only passed
on is not looked at by the decoder, so the bytes are checked to be UTF-8 first: what a gateway accepts, it can hand on.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec
from msgspec import Raw

from headrace.errors import RequestError

T = TypeVar("T")
NULL = Raw(b"null")  # what a field of any type holds that is not given: `Raw` cannot be part of a union
NOT_JSON = (msgspec.DecodeError, UnicodeError, RecursionError)
_PATH = re.compile(r" - at `\$\.?([^`]*)`")
_FIELD = re.compile(r"field `([^`]+)`")
_top_levels = msgspec.json.Decoder(dict[str, Raw])


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes | Raw, what: str, path: str = "") -> T:
    """The body, decoded.

    Args:
        what: the name of the request, with its article: `a chat completion request`.
        path: where in the request this is, if it is not all of it: `input[3]`.

    Raises:
        RequestError: the body is not JSON, or a field has the wrong type or is missing; `param` names it.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message = str(error)
        param = _joined(path, _param(message))
        raise RequestError(f"{path or 'the request body'} is not {what}: {message}", param) from None
    except NOT_JSON as error:
        raise RequestError(f"the request body is not JSON: {error}; send a JSON object") from None


def check_utf8(body: bytes) -> None:
    """Raises RequestError: the body is not UTF-8, and so not JSON."""
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        message = f"the request body is not JSON: no UTF-8 at byte {error.start}; send a JSON object in UTF-8"
        raise RequestError(message) from None


def top_level(body: bytes) -> dict[str, Raw]:
    """The fields of a body, each value as it came. Raises RequestError: it is not a JSON object in UTF-8."""
    check_utf8(body)
    return decode_body(_top_levels, body, "a JSON object")


def given(value: Raw) -> Raw | None:
    """The value of a field; None if it is null or not given."""
    return None if bytes(value) == b"null" else value


def _param(message: str) -> str | None:
    path, field = _PATH.search(message), _FIELD.search(message)
    return _joined(path[1] if path else "", field[1] if field else None)


def _joined(path: str, name: str | None) -> str | None:
    if not name:
        return path or None
    return f"{path}{name}" if name.startswith("[") or not path else f"{path}.{name}"
