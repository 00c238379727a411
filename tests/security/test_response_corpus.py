"""Answers of hostile backends: each is read in the one way that RFC 9112 has for it, or fails with its connection."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from headrace.http import ConnectionPool, FailedKind, PoolLimits

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
SMUGGLED = OK + b"content-length: 8\r\n\r\nsmuggled"

GARBAGE: dict[str, bytes] = {
    "lengths that differ": OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc",
    "a length twice": OK + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "a list of lengths": OK + b"content-length: 3, 3\r\n\r\nabc",
    "a signed length": OK + b"content-length: +3\r\n\r\nabc",
    "a negative length": OK + b"content-length: -3\r\n\r\nabc",
    "a hexadecimal length": OK + b"content-length: 0x3\r\n\r\nabc",
    "a length that overflows": OK + b"content-length: 18446744073709551619\r\n\r\nabc",
    "no length in it": OK + b"content-length: \r\n\r\n",
    "a length and an encoding": OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": OK + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "x-chunked": OK + b"transfer-encoding: x-chunked\r\n\r\n0\r\n\r\n",
    "an encoding of HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "no content that is chunked": b"HTTP/1.1 204 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": OK + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "a bare LF": OK + b"a: b\ncontent-length: 0\r\n\r\n",
    "a bare CR": OK + b"a: b\rc\r\ncontent-length: 0\r\n\r\n",
    "a NUL": OK + b"a: b\0\r\ncontent-length: 0\r\n\r\n",
    "a control byte": OK + b"a: \x1b[2J\r\ncontent-length: 0\r\n\r\n",
    "a space before the colon": OK + b"content-length : 3\r\n\r\nabc",
    "no name": OK + b": b\r\ncontent-length: 0\r\n\r\n",
    "no colon": OK + b"abc\r\ncontent-length: 0\r\n\r\n",
    "many lines": OK + b"a: b\r\n" * 300 + b"content-length: 0\r\n\r\n",
    "a large head": OK + b"a: " + b"b" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "a large head without end": OK + b"a: " + b"b" * 70_000,
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/0.9": b"hello\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 X\r\nupgrade: h2c\r\n\r\n",
    "a thousand promises": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + SMUGGLED,
    "a signed chunk size": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "a chunk size with 0x": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a chunk size that overflows": CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "a chunk size before a space": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "a chunk size ended by LF": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "a long extension": CHUNKED + b"3;" + b"a" * 300 + b"\r\nabc\r\n0\r\n\r\n",
    "a chunk without an end": CHUNKED + b"3\r\nabc0\r\n\r\n",
    "a long trailer": CHUNKED + b"0\r\n" + b"a: b\r\n" * 2000 + b"\r\n",
    "a trailer ended by LF": CHUNKED + b"0\r\na: b\n\r\n",
}

READ: dict[str, tuple[bytes, bytes]] = {
    "a length": (OK + b"content-length: 3\r\n\r\nabc", b"abc"),
    "chunks with an extension and a trailer": (CHUNKED + b'3;a="b"\r\nabc\r\n0\r\nset-cookie: c\r\n\r\n', b"abc"),
    "an encoding in any case": (OK + b"Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
    "early hints": (b"HTTP/1.1 103 X\r\nlink: a\r\n\r\n" + OK + b"content-length: 3\r\n\r\nabc", b"abc"),
    "no content with a length": (b"HTTP/1.1 204 X\r\ncontent-length: 8\r\n\r\n", b""),
}


class Heard:
    """What a sink was told."""

    wants_framed = False

    def __init__(self) -> None:
        self.heads: list[tuple[int, dict[bytes, bytes]]] = []
        self.body = b""
        self.ended = asyncio.Event()
        self.failed: FailedKind | None = None

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.heads.append((status, headers))

    def on_framed(self, block: bytes) -> None:
        raise AssertionError("framed blocks were not asked for")

    def on_data(self, data: bytes) -> None:
        self.body += data

    def on_end(self, explicit: bool) -> None:
        assert not self.ended.is_set()
        self.ended.set()

    def on_failed(self, kind: FailedKind, message: str) -> None:
        assert not self.ended.is_set()
        self.failed = kind
        self.ended.set()


def asked(*answers: bytes) -> list[Heard]:
    """What the sinks of requests heard that came one after the other; the answers are those of the connections."""
    faults: list[object] = []
    left = list(answers)

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0) if left else SMUGGLED.replace(b"smuggled", b"the next"))
        await reader.read()
        writer.close()

    async def main() -> list[Heard]:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: faults.append(told))
        server = await asyncio.start_server(backend, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = ConnectionPool(f"http://127.0.0.1:{port}", PoolLimits(warm=0))
        heard = []
        for _ in range(len(answers) + 1):
            heard.append(Heard())
            pool.send(b"POST / HTTP/1.1\r\nhost: h\r\n\r\n", b"", heard[-1])
            await asyncio.wait_for(heard[-1].ended.wait(), 10)
            await asyncio.sleep(0.01)  # what comes behind an answer has come
        await pool.close()
        server.close()
        return heard

    found = uvloop.run(main())
    assert faults == []
    return found


@pytest.mark.parametrize("name", GARBAGE)
def test_an_answer_that_may_be_read_in_two_ways_fails_and_nothing_behind_it_is_an_answer(name: str) -> None:
    first, second = asked(GARBAGE[name] + SMUGGLED)
    assert first.failed is FailedKind.GARBAGE
    assert b"smuggled" not in first.body
    assert second.body == b"the next"


@pytest.mark.parametrize("name", READ)
def test_an_answer_with_one_reading_is_read_so_and_what_comes_behind_it_is_no_answer(name: str) -> None:
    answer, body = READ[name]
    first, second = asked(answer + SMUGGLED)
    assert first.failed is None
    assert first.body == body
    assert b"set-cookie" not in first.heads[0][1]
    assert second.body == b"the next"
