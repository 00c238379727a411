"""The pump hands on exactly the payload that came, however the bytes are cut, and refuses what is not a body."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.http.pump import ChunkedBody, FramingError, SizedBody, UntilCloseBody, unframe


class Sink:
    def __init__(self, wants_framed: bool = True) -> None:
        self.wants_framed = wants_framed
        self.payload = b""
        self.framed_blocks: list[bytes] = []

    def on_framed(self, block: bytes) -> None:
        self.framed_blocks.append(block)
        self.payload += unframe(block)

    def on_data(self, data: bytes) -> None:
        assert data
        self.payload += data


def chunked(payloads: list[bytes], end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(payload), payload) for payload in payloads) + end


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


payloads = st.lists(
    st.binary(min_size=1, max_size=40) | st.builds(lambda b: b + b"\n", st.binary(max_size=40)), max_size=8
)
cuts = st.lists(st.integers(0, 10_000), max_size=10)


@settings(max_examples=200, deadline=None)
@given(payloads, cuts, st.booleans(), st.sampled_from([b"0\r\n\r\n", b"00\r\n\r\n", b"0\r\nx-trailer: 1\r\n\r\n"]))
def test_payload_out_is_payload_in_for_every_way_to_cut_the_bytes(
    pieces: list[bytes], places: list[int], wants_framed: bool, end: bytes
) -> None:
    sink = Sink(wants_framed)
    body = ChunkedBody(sink)
    blocks = cut(chunked(pieces, end), places)
    results = [body.feed(block) for block in blocks]
    assert sink.payload == b"".join(pieces)
    assert results[-1] == len(blocks[-1])
    assert all(result is None for result in results[:-1])


@settings(max_examples=100, deadline=None)
@given(payloads, cuts)
def test_framed_blocks_never_cut_a_line(pieces: list[bytes], places: list[int]) -> None:
    sink = Sink()
    body = ChunkedBody(sink)
    for block in cut(chunked(pieces), places):
        body.feed(block)
    for block in sink.framed_blocks:
        assert unframe(block).endswith(b"\n")


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_a_header_cut_within_its_crlf_is_no_header_yet(size: int) -> None:
    """What stands before a lone CR reads like a known size, and a chunk of that size would seem to end at once."""
    pieces = [b"x" * (each - 1) + b"\n" for each in (size, size + 2)]
    whole = chunked(pieces)
    ChunkedBody(Sink()).feed(whole)  # learns the sizes
    place = whole.index(b"\r\n", whole.index(b"\n\r\n") + 3) + 1
    sink = Sink()
    body = ChunkedBody(sink)
    for block in (whole[:place], whole[place:]):
        body.feed(block)
    assert sink.payload == b"".join(pieces)


def test_aligned_lines_are_handed_on_as_they_came() -> None:
    sink = Sink()
    block = chunked([b"data: 1\n\n", b"data: 2\n\n"], b"")
    body = ChunkedBody(sink)
    body.feed(block)  # the first time, chunk sizes are learnt the slow way
    body.feed(block)
    assert sink.framed_blocks[-1] is block


def test_bytes_after_the_body_are_left_alone() -> None:
    sink = Sink()
    data = chunked([b"x"]) + b"HTTP/1.1"
    assert ChunkedBody(sink).feed(data) == len(data) - 8


@pytest.mark.parametrize(
    "data",
    [
        b"g\r\nx\r\n",
        b"-1\r\nx\r\n",
        b"+1\r\nx\r\n",
        b"1_0\r\n0123456789abcdef\r\n",
        b"0x1\r\nx\r\n",
        b" 1\r\nx\r\n",
        b"\r\nx\r\n",
        b"1\nx\n",
        b"1\r\nxy\r\n",
        b"2\r\nxy0\r\n\r\n",
        b"1" * 300,
        b"f" * 16 + b"\r\nx\r\n",
        b"0\r\nx: 1\n\r\n",
        b"0\r\n" + b"x: 1\r\n" * 2000,
    ],
)
def test_what_is_not_a_chunked_body_is_refused(data: bytes) -> None:
    with pytest.raises(FramingError):
        ChunkedBody(Sink()).feed(data)


def test_a_chunk_extension_is_not_passed_on() -> None:
    sink = Sink()
    ChunkedBody(sink).feed(b"2;a=b\r\nx\n\r\n0\r\n\r\n")
    assert (sink.payload, sink.framed_blocks) == (b"x\n", [])


def test_a_sized_body_ends_where_its_length_says() -> None:
    sink = Sink()
    body = SizedBody(sink, 5)
    assert body.feed(b"abc") is None
    assert body.feed(b"defg") == 2
    assert sink.payload == b"abcde"
    assert SizedBody(Sink(), 0).feed(b"") == 0


def test_a_body_until_close_has_no_end_of_its_own() -> None:
    sink = Sink()
    assert UntilCloseBody(sink).feed(b"abc") is None
    assert sink.payload == b"abc"


def test_unframe_refuses_a_block_that_is_cut() -> None:
    for block in (b"3\r\nab", b"3", b"1\r\nabc"):
        with pytest.raises(FramingError):
            unframe(block)
