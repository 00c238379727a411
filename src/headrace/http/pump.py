"""Body framing without a parser callback per chunk: the part of the data plane that every streamed token crosses.

A streaming backend sends one HTTP chunk per token, and one read brings one or a few of them. Taking them apart and
putting them together again would cost more than the rest of the relay, so the walk looks at chunk headers only. A
block that begins and ends at chunk boundaries, and whose chunks each end with a newline (as server-sent events do), is
handed on as it is: *framed*. Everything else is handed on as payload and framed anew on the other side. The newline
rule means that no line is ever cut inside a framed block, so whoever looks for a mark in it need not unframe it.

The walk is strict: what it passes on as framed is well-formed, because a proxy that passes on what it did not
understand is how requests are smuggled.
"""

from __future__ import annotations

from typing import Protocol

LAST_CHUNK = b"0\r\n\r\n"
MAX_SIZE_LINE_BYTES = 256
MAX_TRAILER_BYTES = 8192
_HEX = frozenset(b"0123456789abcdefABCDEF")
_NEWLINE = 10


class FramingError(Exception):
    """The bytes are not a well-formed body."""


class BodySink(Protocol):
    """Who takes a body.

    Attributes:
        wants_framed: blocks of whole chunks may come through `on_framed`; otherwise all comes through `on_data`.
    """

    @property
    def wants_framed(self) -> bool:
        """See the class; asked before every block."""

    def on_framed(self, block: bytes) -> None:
        """Whole chunks, as they came; the payload of each ends with a newline."""

    def on_data(self, data: bytes) -> None:
        """Payload bytes."""


class _Sizes(dict[bytes, int]):
    """Chunk sizes by their header line, without the last chunk's. Few sizes are common: a look-up replaces a parse."""

    limit = 65_536

    def __missing__(self, line: bytes) -> int:
        digits, extension, _ = line.partition(b";")
        digits = digits.rstrip(b" \t") if extension else digits
        if not 0 < len(digits) <= 15 or not _HEX.issuperset(digits):
            raise FramingError(f"chunk size is not a hexadecimal number: {line[:32]!r}")
        size = int(digits, 16)
        if size and not extension and len(self) < self.limit:
            self[line] = size
        return size


_sizes = _Sizes()
_known_size = _sizes.get


def unframe(block: bytes) -> bytes:
    """Payload of a block of whole chunks.

    Raises:
        FramingError: the block does not begin and end at chunk boundaries.
    """
    pieces = []
    at = 0
    while at < len(block):
        line_end = block.find(b"\r\n", at)
        if line_end < 0:
            raise FramingError("a chunk header is cut off")
        start = line_end + 2
        end = start + _sizes[block[at:line_end]]
        if block[end : end + 2] != b"\r\n":
            raise FramingError("a chunk does not end where its header says")
        pieces.append(block[start:end])
        at = end + 2
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class ChunkedBody:
    """Walks a chunked body and hands it to a sink.

    `feed` returns how many bytes of the block belong to the body once it is complete, else None.
    """

    __slots__ = ("_aligned", "_crlf_due", "_line", "_missing", "_trailer_bytes", "sink")

    explicit_end = True

    def __init__(self, sink: BodySink) -> None:
        self.sink = sink
        self._missing = 0  # payload bytes of the current chunk that have not come
        self._crlf_due = 0  # of the two bytes that end a chunk, how many have not come
        self._line = b""  # a header line that has not come whole
        self._aligned = True  # the payload handed on so far ends with a newline, or is empty
        self._trailer_bytes = -1  # set once the last chunk has come

    def feed(self, data: bytes) -> int | None:
        """Take a block; see the class.

        Raises:
            FramingError: the bytes are not a chunked body.
        """
        sink = self.sink
        if not (self._aligned and sink.wants_framed) or self._missing or self._crlf_due or self._line:
            return self._feed_slowly(data, 0)
        if self._trailer_bytes >= 0:
            return self._feed_trailer(data, 0)
        length = len(data)
        at = 0
        while at < length:
            # A header line that is not known, is cut off or has an extension is left to the slow way, which learns it.
            # So is a chunk that does not end here, or not with a newline: then the slice is another, or shorter.
            line_end = data.find(b"\r\n", at, at + 18)
            size = _known_size(data[at:line_end]) if line_end > 0 else None
            if size is None:
                break
            end = line_end + size + 4
            if data[end - 3 : end] != b"\n\r\n":
                break
            at = end
        if at == length:
            sink.on_framed(data)
            return None
        if at:
            sink.on_framed(data[:at])
        return self._feed_slowly(data, at)

    def _feed_slowly(self, data: bytes, at: int) -> int | None:
        """Take `data` from `at` on apart; hand on what payload there is, in one piece."""
        pieces: list[bytes] = []
        length = len(data)
        while at < length:
            if self._trailer_bytes >= 0:
                self._hand_on(pieces)
                return self._feed_trailer(data, at)
            if self._missing:
                piece = data[at : at + self._missing]
                pieces.append(piece)
                at += len(piece)
                self._missing -= len(piece)
            elif self._crlf_due:
                at = self._skip_crlf(data, at)
            else:
                at = self._read_size(data, at)
        self._hand_on(pieces)
        return None

    def _hand_on(self, pieces: list[bytes]) -> None:
        if pieces:
            payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._aligned = payload[-1] == _NEWLINE
            self.sink.on_data(payload)

    def _skip_crlf(self, data: bytes, at: int) -> int:
        expected = b"\r\n"[2 - self._crlf_due :]
        found = data[at : at + self._crlf_due]
        if not expected.startswith(found):
            raise FramingError("a chunk does not end where its header says")
        self._crlf_due -= len(found)
        return at + len(found)

    def _read_size(self, data: bytes, at: int) -> int:
        line_end = data.find(b"\n", at)
        if line_end < 0:
            self._line += data[at:]
            if len(self._line) > MAX_SIZE_LINE_BYTES:
                raise FramingError("a chunk header is too long")
            return len(data)
        line = self._line + data[at:line_end]
        self._line = b""
        if not line.endswith(b"\r") or len(line) > MAX_SIZE_LINE_BYTES:
            raise FramingError("a chunk header is not ended by CRLF, or is too long")
        size = _sizes[line[:-1]]
        if size:
            self._missing = size
            self._crlf_due = 2
        else:
            self._trailer_bytes = 0
        return line_end + 1

    def _feed_trailer(self, data: bytes, at: int) -> int | None:
        """Skip trailer lines up to the empty one that ends the body."""
        while at < len(data):
            line_end = data.find(b"\n", at)
            piece = data[at:] if line_end < 0 else data[at : line_end + 1]
            self._line += piece
            self._trailer_bytes += len(piece)
            if self._trailer_bytes > MAX_TRAILER_BYTES:
                raise FramingError("the trailer is too long")
            at += len(piece)
            if line_end >= 0:
                if self._line == b"\r\n":
                    self._line = b""
                    return at
                if not self._line.endswith(b"\r\n"):
                    raise FramingError("a trailer line is not ended by CRLF")
                self._line = b""
        return None


class SizedBody:
    """Walks a body of known length; `feed` as in `ChunkedBody`."""

    __slots__ = ("_missing", "sink")

    explicit_end = True

    def __init__(self, sink: BodySink, length_bytes: int) -> None:
        self.sink = sink
        self._missing = length_bytes

    def feed(self, data: bytes) -> int | None:
        """Take a block; see `ChunkedBody`."""
        if len(data) < self._missing:
            self._missing -= len(data)
            self.sink.on_data(data)
            return None
        used = self._missing
        self._missing = 0
        if used:
            self.sink.on_data(data if used == len(data) else data[:used])
        return used


class UntilCloseBody:
    """A body that ends with its connection; `feed` as in `ChunkedBody`."""

    __slots__ = ("sink",)

    explicit_end = False

    def __init__(self, sink: BodySink) -> None:
        self.sink = sink

    def feed(self, data: bytes) -> int | None:
        """Take a block; see `ChunkedBody`."""
        self.sink.on_data(data)
        return None


Body = ChunkedBody | SizedBody | UntilCloseBody
