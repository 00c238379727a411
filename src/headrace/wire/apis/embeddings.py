"""OpenAI's embeddings: `POST /v1/embeddings`. There is nothing to translate, only an encoding to keep.

A client that asks for base64 (OpenAI's SDKs do, unless told otherwise) may meet a backend that only sends numbers, and
the other way round; vectors are converted where the answer is not what was asked for. Base64 holds little-endian 32-bit
floats.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Any

import msgspec
from msgspec import Raw

from headrace.errors import BackendError, RequestError
from headrace.wire.body import NOT_JSON, NULL, decode_body, top_level
from headrace.wire.usage import ChatUsage, Usage

_encode = msgspec.json.Encoder().encode


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """What a client wants embedded.

    Attributes:
        input: texts, or token ids of each.
        encoding: `float` or `base64`.
    """

    model: str
    input: tuple[str | tuple[int, ...], ...]
    encoding: str = "float"
    dimensions: int | None = None
    user: str | None = None
    extra: dict[str, Raw] = {}  # noqa: RUF012: msgspec copies it


class EmbeddingAnswer(msgspec.Struct, frozen=True):
    """The vectors, in the order of the input, each as it came: a JSON array, or base64 in a string."""

    model: str
    vectors: tuple[Raw, ...]
    usage: Usage | None = None


class WireRequest(msgspec.Struct):
    """The fields of a request that are read, as they are decoded."""

    model: str
    input: str | list[str | int | list[int]]
    encoding_format: str | None = None
    dimensions: int | None = None
    user: str | None = None


class _Vector(msgspec.Struct):
    embedding: Raw
    index: int = 0


class _Answer(msgspec.Struct):
    data: list[_Vector]
    model: str = ""
    usage: ChatUsage | None = None
    error: Raw = NULL


_requests = msgspec.json.Decoder(WireRequest)
_answers = msgspec.json.Decoder(_Answer)
_arrays = msgspec.json.Decoder(list[float])
_strings = msgspec.json.Decoder(str)
_KNOWN = frozenset(WireRequest.__struct_fields__)
_ENCODINGS = ("float", "base64")


def read_request(body: bytes) -> EmbeddingRequest:
    """An embedding request.

    Raises:
        RequestError: it is none; `param` names the field.
    """
    fields = top_level(body)
    wire = decode_body(_requests, body, "an embedding request")
    encoding = wire.encoding_format or "float"
    if encoding not in _ENCODINGS:
        raise RequestError(f"encoding_format: {encoding!r} is none; send float or base64", "encoding_format")
    extra = {name: value for name, value in fields.items() if name not in _KNOWN}
    return EmbeddingRequest(wire.model, _read_input(wire.input), encoding, wire.dimensions, wire.user, extra)


def _read_input(given: str | list[str | int | list[int]]) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(given, str):
        return (given,)
    if given and all(isinstance(piece, int) for piece in given):
        return (tuple(piece for piece in given if isinstance(piece, int)),)
    if not given or any(isinstance(piece, int) for piece in given):
        raise RequestError("input: send text, token ids, or a list of either", "input")
    return tuple(tuple(piece) if isinstance(piece, list) else str(piece) for piece in given)


def write_request(request: EmbeddingRequest) -> bytes:
    """The request as a backend takes it."""
    wire: dict[str, Any] = {
        "model": request.model,
        "input": request.input[0] if len(request.input) == 1 else request.input,
        "encoding_format": request.encoding,
    }
    if request.dimensions is not None:
        wire["dimensions"] = request.dimensions
    if request.user is not None:
        wire["user"] = request.user
    return _encode(wire | request.extra)


def read_answer(body: bytes) -> EmbeddingAnswer:
    """A backend's vectors.

    Raises:
        BackendError: the body has none.
    """
    try:
        wire = _answers.decode(body)
    except NOT_JSON as error:
        raise BackendError(f"the backend's answer has no embeddings: {error}") from None
    vectors = tuple(vector.embedding for vector in sorted(wire.data, key=lambda vector: vector.index))
    return EmbeddingAnswer(wire.model, vectors, None if wire.usage is None else wire.usage.usage())


def write_answer(answer: EmbeddingAnswer, request: EmbeddingRequest) -> bytes:
    """The vectors in the encoding that the client asked for.

    Raises:
        BackendError: a vector is in no encoding known here.
    """
    data = [
        {"object": "embedding", "index": index, "embedding": encoded(vector, request.encoding)}
        for index, vector in enumerate(answer.vectors)
    ]
    tokens = answer.usage.input_tokens if answer.usage is not None else 0
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _encode({"object": "list", "data": data, "model": answer.model or request.model, "usage": usage})


def as_asked(body: bytes, request: bytes) -> bytes:
    """A backend's answer in the encoding that the body of the request asks for; as it came, where it is that already.

    Raises:
        BackendError: a vector is in no encoding known here.
    """
    key = b'"embedding":'
    at = body.find(key)
    is_text = body[at + len(key) : at + len(key) + 16].lstrip()[:1] == b'"'
    if at < 0 or is_text == (request.find(b'"base64"') >= 0):
        return body
    asked = read_request(request)
    return body if is_text == (asked.encoding == "base64") else write_answer(read_answer(body), asked)


def encoded(vector: Raw, encoding: str) -> Raw:
    """A vector as a JSON array (`float`) or as base64 in a string; untouched where it is that already.

    Raises:
        BackendError: it is neither.
    """
    is_text = bytes(vector).startswith(b'"')
    if is_text == (encoding == "base64"):
        return vector
    try:
        return _to_numbers(vector) if is_text else _to_base64(vector)
    except (*NOT_JSON, binascii.Error, struct.error, ValueError, OverflowError) as error:
        raise BackendError(f"the backend's embedding is neither numbers nor base64: {error}") from None


def _to_base64(vector: Raw) -> Raw:
    numbers = _arrays.decode(vector)
    return Raw(_encode(base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()))


def _to_numbers(vector: Raw) -> Raw:
    packed = base64.b64decode(_strings.decode(vector), validate=True)
    return Raw(_encode([number for (number,) in struct.iter_unpack("<f", packed)]))
