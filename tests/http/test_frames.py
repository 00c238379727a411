"""WebSocket frames: what comes out depends on the bytes, not on how they were split."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websocket_rig import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_code, frame, frames_in

from headrace.http import CloseCode
from headrace.http.frames import Frames

LIMIT = 70_000
BAD_UTF8 = b"\xff\xfe"

texts = st.text(max_size=200).map(str.encode)
controls = st.one_of(
    st.binary(max_size=125).map(lambda payload: frame(PING, payload)),
    st.binary(max_size=125).map(lambda payload: frame(PONG, payload)),
)
faults = st.sampled_from(
    [
        frame(BINARY, b"x"),
        frame(TEXT, BAD_UTF8),
        frame(CONTINUATION, b"x"),
        frame(TEXT, b"x", masked=False),
        frame(TEXT, b"x", reserved=0x40),
        frame(0x3, b"x"),
        frame(PING, b"x", fin=False),
        frame(PING, b"x" * 126),
        frame(TEXT, b"x" * (LIMIT + 1)),
        frame(CLOSE, b"\x03\xe8bye"),
        frame(CLOSE, b"\x03"),
        frame(CLOSE),
    ]
)


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """One message in fragments, with control frames between them; cut anywhere, so also inside a character."""
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    out = b""
    for index, piece in enumerate(pieces):
        out += frame(TEXT if index == 0 else CONTINUATION, piece, fin=index == len(pieces) - 1)
        out += b"" if index == len(pieces) - 1 else draw(st.one_of(st.just(b""), controls))
    return out


def fed(pieces: list[bytes]) -> tuple[list[bytes], bytes, bool]:
    frames = Frames(LIMIT)
    messages: list[bytes] = []
    out, last = b"", False
    for piece in pieces:
        messages += frames.feed(piece)
        data, closing = frames.outgoing()
        out, last = out + data, last or closing
    return messages, out, last


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(at)]


@given(st.lists(st.one_of(fragmented(), controls, faults), max_size=8), st.lists(st.integers(0, 10**6), max_size=12))
def test_any_split_gives_the_same_messages_answers_and_end(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    assert fed(split(data, cuts)) == fed([data])


@given(st.lists(fragmented(), max_size=5))
def test_byte_by_byte_is_a_split_too(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert fed([bytes([byte]) for byte in data]) == fed([data])


@given(st.lists(texts, max_size=5))
def test_messages_come_out_as_they_went_in(messages: list[bytes]) -> None:
    assert fed([frame(TEXT, message) for message in messages]) == (messages, b"", False)


@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536, LIMIT])
def test_every_width_of_a_length_is_read_and_written(length: int) -> None:
    frames = Frames(LIMIT)
    assert frames.feed(frame(TEXT, b"x" * length)) == [b"x" * length]
    frames.send_text(b"y" * length)
    assert frames_in(frames.outgoing()[0]) == [(TEXT, b"y" * length)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(BINARY, b"x"), CloseCode.UNSUPPORTED_DATA),
        (frame(TEXT, BAD_UTF8), 1007),
        (frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"x"), 1007),
        (frame(TEXT, b"x" * (LIMIT + 1)), 1009),
        (frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONTINUATION, b"x"), 1009),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), 1002),
        (frame(TEXT, b"x", masked=False), 1002),
        (frame(TEXT, b"x", reserved=0x40), 1002),
        (frame(0x3, b"x"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ],
)
def test_what_breaks_the_protocol_closes_with_the_code_that_says_why(data: bytes, code: int) -> None:
    messages, out, last = fed([data + frame(TEXT, b"too late") + frame(PING, b"too late")])
    ((opcode, payload),) = frames_in(out)
    assert (messages, opcode, close_code(payload), last) == ([], CLOSE, code, True)


def test_a_ping_is_answered_with_its_payload_and_a_close_with_a_close() -> None:
    _, out, last = fed([frame(PING, b"are you there") + frame(CLOSE, b"\x03\xe8bye")])
    assert frames_in(out) == [(PONG, b"are you there"), (CLOSE, b"\x03\xe8bye")]
    assert last


def test_a_character_may_be_cut_between_fragments() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    messages, out, _ = fed([frame(TEXT, first, fin=False) + frame(CONTINUATION, second)])
    assert (messages, out) == (["é".encode()], b"")


def test_nothing_is_delivered_once_this_side_has_closed_and_the_clients_close_ends_it() -> None:
    frames = Frames(LIMIT)
    frames.send_close(CloseCode.NORMAL, "done")
    assert frames.feed(frame(TEXT, b"late")) == []
    assert not frames.outgoing()[1], "the client's close has not come"
    frames.feed(frame(CLOSE, b"\x03\xe8"))
    assert frames.outgoing() == (b"", True)
