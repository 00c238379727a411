"""A client's frames, by hand."""

from __future__ import annotations

import struct

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455, section 1.3, and what it is to be answered with
ACCEPTED = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n"
    "sec-websocket-key: " + KEY + "\r\nsec-websocket-version: 13\r\n{headers}\r\n"
)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """One frame as a client sends it."""
    first = (0x80 if fin else 0) | reserved | opcode
    mask = b"\x11\x22\x33\x44" if masked else b""
    length, flag = len(payload), 0x80 if masked else 0
    if length < 126:
        head = struct.pack("!BB", first, flag | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, flag | 126, length)
    else:
        head = struct.pack("!BBQ", first, flag | 127, length)
    if masked:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + mask + payload


def frames_in(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of each whole frame that a server sent: unmasked, and never in fragments."""
    found = []
    while data:
        assert data[0] & 0x70 == 0, "no extension was negotiated"
        assert data[0] & 0x80, "whole messages"
        length, at = data[1], 2
        if length == 126:
            length, at = struct.unpack_from("!H", data, 2)[0], 4
        elif length == 127:
            length, at = struct.unpack_from("!Q", data, 2)[0], 10
        if len(data) < at + length:
            break
        found.append((data[0] & 0xF, data[at : at + length]))
        data = data[at + length :]
    return found


def close_code(payload: bytes) -> int:
    """The code in a close frame."""
    return int(struct.unpack_from("!H", payload)[0])
