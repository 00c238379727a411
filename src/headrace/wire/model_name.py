"""The model's name in a body: found by its bytes, and replaced alone.

The same model has another name at each provider, and clients use names of their own. So a body is given another name
once when it arrives, where the client used an alias, and once for each attempt on a backend that has a name of its
own; an answer is given the name that the client knows. Each time, the bytes of one value are replaced, and every
other byte stays: nothing is decoded or encoded again, whatever the size of the body.

Where the value stands, the decoder says that has read the body: it leaves the value as a view of the body's bytes, so
the place is the difference of two addresses. Keys inside tools, keys that are spelt with escapes and keys that come
twice are thus what they were to whoever read the head, at the price of one more look.

Source: `msgspec.Raw`, https://jcristharif.com/msgspec/api.html#msgspec.Raw
"""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec import Raw

from headrace.errors import InvariantError
from headrace.wire.body import NULL


class _Named(msgspec.Struct):
    model: Raw = NULL


_named = msgspec.json.Decoder(_Named)


def with_model(body: bytes, model: str) -> bytes:
    """The body, asking for `model` whatever it asked for before.

    Args:
        body: a JSON object that has a `model`, as whoever read its head has seen; of several, the last is replaced.
    """
    return _replaced(body, _named.decode(body).model, model)


def renamed_answer(body: bytes, before: str, after: str) -> bytes:
    """A whole answer that says it is by the model `before`, saying `after`; any other as it came."""
    try:
        said = _named.decode(body).model
        known = said is not NULL and msgspec.json.decode(said) == before
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body  # that has an answer of its own
    return _replaced(body, said, after) if known else body


def _replaced(body: bytes, value: Raw, model: str) -> bytes:
    start = _address(value) - _address(body)
    end = start + len(value)
    if start < 0 or body[start:end] != bytes(value):
        raise InvariantError(
            f"a value at byte {start} of {len(body)} is no view of the body; another msgspec is needed"
        )
    return b"%b%b%b" % (body[:start], msgspec.json.encode(model), body[end:])


def _address(buffer: bytes | Raw) -> int:
    address: int = np.frombuffer(buffer, np.uint8).__array_interface__["data"][0]
    return address


class StreamNames:
    """Gives the events of streams another name of their model, wherever they say `before`, each in whole lines."""

    __slots__ = ("_after", "_before", "_spaced")

    def __init__(self, before: str, after: str) -> None:
        name = msgspec.json.encode(before)
        self._before, self._spaced = b'"model":' + name, b'"model": ' + name
        self._after = b'"model":' + msgspec.json.encode(after)

    def said_in(self, lines: bytes) -> bool:
        """Whether there is anything to replace."""
        return lines.find(self._before) >= 0 or lines.find(self._spaced) >= 0

    def renamed(self, lines: bytes) -> bytes:
        """The lines with the other name."""
        return lines.replace(self._before, self._after).replace(self._spaced, self._after)
