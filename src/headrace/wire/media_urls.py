"""URLs in a request that its backend is to fetch: of images, files, sound and video.

A model server fetches them from inside the operator's network, so a client that names one there reads what it must not
(a server-side request forgery). Every URL of a media part is found, also where a key is repeated and servers disagree
on which of two values counts, and where letters of a key are escaped.

Most requests have none, and are only searched for the bytes without which there can be none. Where those are, the body
is parsed, and its media parts are looked for where each API has them: in messages and input items, in results of tools
and in documents; not in what a model told a tool to do, which no server fetches.

Source: OpenAI's reference for `image_url`, `file_url` (Chat Completions, Responses); Anthropic's for `source` of
`image` and `document` blocks (Messages); vLLM's documentation of multimodal inputs for `video_url` and `audio_url`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np

from headrace.errors import RequestError
from headrace.wire.api import ApiName

MEDIA_KEYS = ("image_url", "file_url", "video_url", "audio_url")
_NAMES = tuple(key.encode().removesuffix(b"_url") for key in MEDIA_KEYS)
LARGE_BYTES = 16 * 1024  # from here on NumPy is quicker than `find`
_LISTS = ("messages", "input")  # of the request; and of what is in these:
_INNER = ("content", "output", "source")
_COLON = ord(":")
_ESCAPED = re.compile(rb"\\u00(?:5[fF]|7[25]|6[cC])")  # _, u, r or l: no encoder writes them so


class _Pairs(list[tuple[str, object]]):
    """A JSON object, each pair of it."""


def media_urls(api: ApiName, body: bytes) -> list[str]:
    """Every URL of a media part, `data:` ones too.

    Raises:
        RequestError: the body is not JSON, or is nested too deeply.
    """
    if not _may_have(api, body):
        return []
    try:
        request = json.loads(body, object_pairs_hook=_Pairs)
        return [url for entries in _values(request, _LISTS) for url in _of(entries)]
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request body cannot be read: {error}; send a JSON object") from None


def _may_have(api: ApiName, body: bytes) -> bool:
    """Whether the bytes are there without which no URL is: a quote ends each key, and cannot be escaped."""
    if body.find(b"\\") >= 0 and _holds(body, b"\\u00") and _ESCAPED.search(body) is not None:
        return True
    if api == "messages":
        return _has_url_source(body)
    at = body.find(b'_url"') if _holds(body, b'_url"') else -1
    while at >= 0:
        if body.endswith(_NAMES, 0, at):
            return True
        at = body.find(b'_url"', at + 1)
    return False


def _holds(body: bytes, word: bytes) -> bool:
    """Whether the word is there: in a large body a quarter of the time that `find` takes, if it is not."""
    if len(body) < LARGE_BYTES:
        return body.find(word) >= 0
    array, end = np.frombuffer(body, np.uint8), len(body) - len(word) + 1
    near = array[:end] == word[0]
    for place in (1, len(word) - 1):
        near &= array[place : place + end] == word[place]
    return bool(near.any()) and body.find(word) >= 0


def _has_url_source(body: bytes) -> bool:
    """Whether `"url"` is the value of a key somewhere, as in `"type": "url"`."""
    at = body.find(b'"url"') if _holds(body, b'"url"') else -1
    while at >= 0:
        before = at - 1
        while body[before] in b" \t\r\n":
            before -= 1
        if body[before] == _COLON:
            return True
        at = body.find(b'"url"', at + 1)
    return False


def _of(value: object) -> Iterator[str]:
    """URLs of what is, or has, media parts."""
    if isinstance(value, _Pairs):
        for key, inner in value:
            if key in MEDIA_KEYS:
                yield from _said(inner)
            elif key in _INNER:
                yield from _of(inner)
                yield from _said(inner) if key == "source" and isinstance(inner, _Pairs) else ()
    elif isinstance(value, list):
        for each in value:
            yield from _of(each)


def _said(value: object) -> Iterator[str]:
    """The URL itself, or the one that an object says."""
    if isinstance(value, str):
        yield value
    else:
        yield from (each for each in _values(value, ("url",)) if isinstance(each, str))


def _values(value: object, keys: tuple[str, ...]) -> Iterator[object]:
    """The values of these keys, if it is an object that has them."""
    if isinstance(value, _Pairs):
        yield from (each for key, each in value if key in keys)
