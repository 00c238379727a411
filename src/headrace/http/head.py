"""Response heads: parsed once per response, strictly and by hand: a look-up per line is cheaper than a callback."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from headrace.http.pump import Body, BodySink, ChunkedBody, FramingError, SizedBody, UntilCloseBody

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?\Z")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
MAX_HEADER_LINES = 256
MAX_KNOWN_LINES = 4096
MAX_KNOWN_LINE_BYTES = 256
_Parsed = TypeVar("_Parsed")
_NO_CONTENT = 204
_BODILESS = frozenset((_NO_CONTENT, 304))


class ResponseHead(msgspec.Struct, frozen=True):
    """A response head. Header names are lower-case; repeated headers are joined by `, `.

    Attributes:
        keep_alive: the connection may be used again after this response.
    """

    status: int
    headers: dict[bytes, bytes]
    http_1_0: bool
    keep_alive: bool


class _StatusLines(dict[bytes, tuple[int, bool]]):
    """Status and whether it is HTTP/1.0, by status line."""

    def __missing__(self, line: bytes) -> tuple[int, bool]:
        match = _STATUS_LINE.match(line)
        if match is None:
            raise FramingError(f"not an HTTP response: {line[:64]!r}")
        return _remember(self, line, (int(match[2]), match[1] == b"0"))


class _HeaderLines(dict[bytes, tuple[bytes, bytes]]):
    """Name and value by header line: a backend sends the same few lines again and again."""

    def __missing__(self, line: bytes) -> tuple[bytes, bytes]:
        name, colon, value = line.partition(b":")
        if not colon or _NAME.match(name) is None or _VALUE.match(value) is None:
            raise FramingError(f"not a header line: {line[:64]!r}")
        return _remember(self, line, (name.lower(), value.strip(b" \t")))


def _remember(known: dict[bytes, _Parsed], line: bytes, parsed: _Parsed) -> _Parsed:
    if len(known) >= MAX_KNOWN_LINES:
        known.clear()
    if len(line) <= MAX_KNOWN_LINE_BYTES:
        known[line] = parsed
    return parsed


_status_lines = _StatusLines()
_header_lines = _HeaderLines()


def parse_head(head: bytes) -> ResponseHead:
    """Parse a head, given without the empty line that ends it.

    Raises:
        FramingError: this is not the head of an HTTP/1 response.
    """
    lines = head.split(b"\r\n")
    if len(lines) > MAX_HEADER_LINES:
        raise FramingError(f"the response head has more than {MAX_HEADER_LINES} lines")
    status, http_1_0 = _status_lines[lines[0]]
    headers: dict[bytes, bytes] = {}
    del lines[0]
    for line in lines:
        name, value = _header_lines[line]
        if name in headers:
            value = b"%b, %b" % (headers[name], value)
        headers[name] = value
    connection = headers.get(b"connection")
    if connection is None:
        return ResponseHead(status, headers, http_1_0, not http_1_0)
    connection = connection.lower()
    keep_alive = b"close" not in connection and (not http_1_0 or b"keep-alive" in connection)
    return ResponseHead(status, headers, http_1_0, keep_alive)


def body_of(head: ResponseHead, method: bytes, sink: BodySink) -> Body:
    """How the body of this response is delimited, as a walker that feeds `sink`.

    Raises:
        FramingError: the head contradicts itself.
    """
    headers = head.headers
    encoding = headers.get(b"transfer-encoding")
    length = headers.get(b"content-length")
    if encoding is not None and (
        length is not None or encoding.lower() != b"chunked" or head.http_1_0 or head.status == _NO_CONTENT
    ):
        raise FramingError("the body's framing is ambiguous")
    if length is not None and not (length.isdigit() and len(length) <= 15):
        raise FramingError(f"not a content length: {length[:32]!r}")
    if method == b"HEAD" or head.status in _BODILESS:
        return SizedBody(sink, 0)
    if encoding is not None:
        return ChunkedBody(sink)
    if length is None:
        return UntilCloseBody(sink)
    return SizedBody(sink, int(length))
