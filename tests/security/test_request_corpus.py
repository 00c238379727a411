"""Requests that two servers may read differently: refused with their connection, or read as RFC 9112 says."""

from __future__ import annotations

import asyncio

import pytest
from socket_talk import Served, served, statuses

from headrace.http import HttpLimits

GET = b"GET /a HTTP/1.1\r\nhost: h\r\n"
POST = b"POST /a HTTP/1.1\r\nhost: h\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
LIMITS = HttpLimits(max_body_bytes=20_000, max_head_bytes=4000, max_header_lines=50)

REFUSED: dict[str, tuple[int, bytes]] = {
    # lengths: RFC 9112, 6.2 and 6.3
    "lengths that differ": (400, POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc"),
    "a length twice": (400, POST + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc"),
    "a list of lengths": (400, POST + b"content-length: 3, 3\r\n\r\nabc"),
    "a signed length": (400, POST + b"content-length: +3\r\n\r\nabc"),
    "a negative length": (400, POST + b"content-length: -3\r\n\r\nabc"),
    "a hexadecimal length": (400, POST + b"content-length: 0x3\r\n\r\nabc"),
    "a length with an underscore": (400, POST + b"content-length: 1_0\r\n\r\n0123456789"),
    "two lengths in one": (400, POST + b"content-length: 3 4\r\n\r\nabc"),
    "no length in it": (400, POST + b"content-length: \r\n\r\n"),
    "a length after a vertical tab": (400, POST + b"content-length: \x0b3\r\n\r\nabc"),
    "a length beyond 64 bits": (400, POST + b"content-length: 18446744073709551619\r\n\r\nabc"),
    "a length beyond the limit": (413, POST + b"content-length: 20001\r\n\r\n"),
    # transfer encodings: RFC 9112, 6.1
    "a length, then an encoding": (400, POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "an encoding, then a length": (400, POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"),
    "chunked, identity": (400, POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    "identity, chunked": (400, POST + b"transfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
    "chunked twice": (400, POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked, then identity": (
        400,
        POST + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    "gzip, chunked": (400, POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "x-chunked": (400, POST + b"transfer-encoding: x-chunked\r\n\r\n0\r\n\r\n"),
    "chunked in quotes": (400, POST + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    "chunked behind a comma": (400, POST + b"transfer-encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    "chunked behind a vertical tab": (400, POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "chunked before a NUL": (400, POST + b"transfer-encoding: chunked\0\r\n\r\n0\r\n\r\n"),
    "chunked in a folded line": (400, POST + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    "an encoding in a folded line": (400, POST + b"x: a\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "no encoding in it": (400, POST + b"transfer-encoding: \r\n\r\n"),
    "identity": (400, POST + b"transfer-encoding: identity\r\n\r\n"),
    "an encoding and a space": (400, POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
    "an encoding behind a NUL": (400, POST + b"\0transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "an encoding of HTTP/1.0": (400, b"POST / HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    # lines and names: RFC 9112, 2.2, 5.1 and 5.2; RFC 9110, 5.5
    "lines ended by LF": (400, b"GET / HTTP/1.1\nhost: h\n\n"),
    "a header ended by LF": (400, GET + b"a: b\nc: d\r\n\r\n"),
    "a head ended by LF": (400, GET + b"\n"),
    "a bare CR in a value": (400, GET + b"a: b\rc: d\r\n\r\n"),
    "a bare CR before the end": (400, GET + b"a: b\r\r\n\r\n"),
    "a folded line": (400, GET + b"a: b\r\n c\r\n\r\n"),
    "a space before the first header": (400, b"GET / HTTP/1.1\r\n host: h\r\n\r\n"),
    "a NUL in a value": (400, GET + b"a: b\0c\r\n\r\n"),
    "a control byte in a value": (400, GET + b"a: b\x01c\r\n\r\n"),
    "a NUL in a name": (400, GET + b"a\0: b\r\n\r\n"),
    "a space in a name": (400, GET + b"a b: c\r\n\r\n"),
    "a space before the colon": (400, GET + b"a : b\r\n\r\n"),
    "no name": (400, GET + b": b\r\n\r\n"),
    "no colon": (400, GET + b"abc\r\n\r\n"),
    # hosts: RFC 9112, 3.2
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nhost: h\r\nhost: g\r\n\r\n"),
    "a host twice": (400, b"GET / HTTP/1.1\r\nhost: h\r\nhost: h\r\n\r\n"),
    "a list of hosts": (400, b"GET / HTTP/1.1\r\nhost: h, g\r\n\r\n"),
    "a host with a path": (400, b"GET / HTTP/1.1\r\nhost: h/a\r\n\r\n"),
    "a host with a user": (400, b"GET / HTTP/1.1\r\nhost: u@h\r\n\r\n"),
    "an empty host": (400, b"GET / HTTP/1.1\r\nhost: \r\n\r\n"),
    # chunks: RFC 9112, 7.1
    "a chunk size with a sign": (400, CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n"),
    "a negative chunk size": (400, CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with 0x": (400, CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size after a space": (400, CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size before a space": (400, CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n"),
    "a chunk size beyond 64 bits": (400, CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "no chunk size": (400, CHUNKED + b"\r\nabc\r\n0\r\n\r\n"),
    "a chunk size ended by LF": (400, CHUNKED + b"3\nabc\r\n0\r\n\r\n"),
    "an extension ended by LF": (400, CHUNKED + b"3;a\nabc\r\n0\r\n\r\n"),
    "a bare CR in an extension": (400, CHUNKED + b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "a line end in a quoted extension": (400, CHUNKED + b'3;a="b\r\n"\r\nabc\r\n0\r\n\r\n'),
    "a chunk ended by LF": (400, CHUNKED + b"3\r\nabc\n0\r\n\r\n"),
    "a chunk without an end": (400, CHUNKED + b"3\r\nabc0\r\n\r\n"),
    "a chunk longer than its size": (400, CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n"),
    "a trailer line ended by LF": (400, CHUNKED + b"0\r\na: b\n\r\n"),
    "a length in a trailer": (400, CHUNKED + b"3\r\nabc\r\n0\r\ncontent-length: 3\r\n\r\n"),
    "chunks beyond the limit": (413, CHUNKED + b"4e21\r\n" + b"x" * 20_001),
    # targets, methods, versions: RFC 9112, 2.3 and 3
    "a fragment": (400, b"GET /a#b HTTP/1.1\r\nhost: h\r\n\r\n"),
    "a host and a port": (400, b"GET h:80 HTTP/1.1\r\nhost: h\r\n\r\n"),
    "a tunnel": (501, b"CONNECT h:80 HTTP/1.1\r\nhost: h\r\n\r\n"),
    "an asterisk": (400, b"GET * HTTP/1.1\r\nhost: h\r\n\r\n"),
    "another scheme": (400, b"GET ftp://h/a HTTP/1.1\r\nhost: h\r\n\r\n"),
    "a user in the target": (400, b"GET http://u@h/a HTTP/1.1\r\nhost: h\r\n\r\n"),
    "a NUL in the target": (400, b"GET /a\0b HTTP/1.1\r\nhost: h\r\n\r\n"),
    "a tab in the target": (400, b"GET /a\tb HTTP/1.1\r\nhost: h\r\n\r\n"),
    "a space in the target": (400, b"GET /a b HTTP/1.1\r\nhost: h\r\n\r\n"),
    "a byte beyond ASCII in the target": (400, b"GET /a\xff HTTP/1.1\r\nhost: h\r\n\r\n"),
    "tabs in the first line": (400, b"GET\t/a\tHTTP/1.1\r\nhost: h\r\n\r\n"),
    "a method in small letters": (400, b"get / HTTP/1.1\r\nhost: h\r\n\r\n"),
    "HTTP/0.9": (505, b"GET /\r\n\r\n"),
    "HTTP/0.9 by name": (505, b"GET / HTTP/0.9\r\nhost: h\r\n\r\n"),
    "HTTP/2.0 by name": (505, b"GET / HTTP/2.0\r\nhost: h\r\n\r\n"),
    "the preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a version that there is not": (400, b"GET / HTTP/1.10\r\nhost: h\r\n\r\n"),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01"),
    # sizes
    "a long name": (431, GET + b"a" * 4000 + b": b\r\n\r\n"),
    "a long value": (431, GET + b"a: " + b"b" * 4000 + b"\r\n\r\n"),
    "a long target": (431, b"GET /" + b"a" * 4000 + b" HTTP/1.1\r\nhost: h\r\n\r\n"),
    "many headers": (431, GET + b"".join(b"a%d:\r\n" % k for k in range(50)) + b"\r\n"),
    "one header many times": (431, GET + b"a:\r\n" * 60 + b"\r\n"),
    # upgrades: what follows is never a request
    "an upgrade with chunks": (
        400,
        POST + b"connection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
}

READ: dict[str, tuple[bytes, bytes, bytes]] = {
    "a length with spaces around it": (POST + b"content-length: \t3 \r\n\r\nabc", b"/a", b"abc"),
    "a length with zeros before it": (POST + b"content-length: 003\r\n\r\nabc", b"/a", b"abc"),
    "an encoding in any case": (POST + b"Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"/a", b"abc"),
    "an encoding after a tab": (POST + b"transfer-encoding:\tchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"/a", b"abc"),
    "a name like another": (POST + b"transfer_encoding: chunked\r\ncontent-length: 3\r\n\r\nabc", b"/a", b"abc"),
    "a chunk extension": (CHUNKED + b'3;a=b;c="d;e"\r\nabc\r\n0;f\r\n\r\n', b"/a", b"abc"),
    "chunk sizes with zeros": (CHUNKED + b"0003\r\nabc\r\n000\r\n\r\n", b"/a", b"abc"),
    "a trailer": (CHUNKED + b"3\r\nabc\r\n0\r\nx-a: b\r\n\r\n", b"/a", b"abc"),
    "a body of a GET": (GET + b"content-length: 3\r\n\r\nabc", b"/a", b"abc"),
    "an absolute target": (b"GET http://g/a?b HTTP/1.1\r\nhost: h\r\n\r\n", b"/a", b""),
    "an absolute target without a path": (b"GET HTTPS://g HTTP/1.1\r\nhost: h\r\n\r\n", b"/", b""),
    "an asterisk of OPTIONS": (b"OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n", b"*", b""),
    "a length named in connection": (
        POST + b"connection: content-length\r\ncontent-length: 3\r\n\r\nabc",
        b"/a",
        b"abc",
    ),
    "an empty line before": (b"\r\n\r\n" + GET + b"\r\n", b"/a", b""),
    "an IPv6 host": (b"GET /a HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n", b"/a", b""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(name: str) -> None:
    status, request = REFUSED[name]

    async def scenario(rig: Served) -> None:
        for pieces in ((request + SMUGGLED,), (request, SMUGGLED)):
            answer = await rig.say(*pieces)
            assert statuses(answer) == [status]
            assert b"connection: close\r\n" in answer
        assert rig.requests == []

    served(scenario, LIMITS)


@pytest.mark.parametrize("name", READ)
def test_what_has_one_reading_is_read_so_and_what_follows_is_a_request_of_its_own(name: str) -> None:
    request, path, body = READ[name]

    async def scenario(rig: Served) -> None:
        assert statuses(await rig.say(request + LAST)) == [200, 200]
        first, second = rig.requests
        assert (first.path, first.body) == (path, body)
        assert second.path == b"/last"

    served(scenario, LIMITS)


def test_a_request_is_the_same_however_its_bytes_are_cut() -> None:
    async def scenario(rig: Served) -> None:
        for request, _, body in READ.values():
            rig.requests.clear()
            await rig.say(*(request[at : at + 1] for at in range(len(request))), LAST)
            assert [each.body for each in rig.requests] == [body, b""]

    served(scenario, LIMITS)


@pytest.mark.parametrize(
    "line", [b"authorization: Bearer theirs", b"host: other", b"x-headrace-class: vip", b"accept: x"]
)
def test_a_trailer_never_passes_for_a_header(line: bytes) -> None:
    async def scenario(rig: Served) -> None:
        request = POST + b"accept: y\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + line + b"\r\n\r\n"
        assert statuses(await rig.say(request + LAST)) == [200, 200]
        assert rig.requests[0].headers == {b"host": b"h", b"accept": b"y", b"transfer-encoding": b"chunked"}

    served(scenario)


def test_an_absolute_target_names_the_host_whatever_the_header_says() -> None:
    async def scenario(rig: Served) -> None:
        await rig.say(b"GET http://real:80/a HTTP/1.1\r\nhost: other\r\n\r\n" + LAST)
        assert rig.requests[0].headers[b"host"] == b"real:80"

    served(scenario)


@pytest.mark.parametrize("extension", [b";" + b"a" * 8000, b";a" * 4000])
def test_a_body_that_is_framing_for_the_most_part_is_refused(extension: bytes) -> None:
    async def scenario(rig: Served) -> None:
        chunks = [b"1%b\r\nx\r\n" % extension] * 400
        assert statuses(await rig.say(CHUNKED, *chunks)) == [400]
        assert rig.requests == []
        trailer = [b"x-a: b\r\n" * 1000] * 100
        assert statuses(await rig.say(CHUNKED, b"0\r\n", *trailer)) == [400]
        assert statuses(await rig.say(CHUNKED, *[b"1\r\nx\r\n"] * 9000, b"0\r\n\r\n", LAST)) == [200, 200]

    served(scenario, LIMITS)


def test_what_follows_an_upgrade_that_is_not_taken_is_never_a_request() -> None:
    upgrade = b"connection: upgrade\r\nupgrade: h2c\r\n"

    async def scenario(rig: Served) -> None:
        for request in (GET + upgrade + b"\r\n", POST + upgrade + b"content-length: 3\r\n\r\nabc"):
            for pieces in ((request + SMUGGLED * 3,), (request, SMUGGLED, SMUGGLED)):
                rig.requests.clear()
                assert statuses(await rig.say(*pieces)) in ([200], [])  # bytes behind the last answer may reset it
                assert [each.path for each in rig.requests] == [b"/a"]

    served(scenario)


def test_a_large_body_behind_an_upgrade_that_is_not_taken_comes_whole() -> None:
    head = POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 400000\r\n\r\n"

    async def scenario(rig: Served) -> None:
        assert statuses(await rig.say(head, *[b"x" * 40_000] * 10)) == [200]
        assert rig.requests[0].body == b"x" * 400_000

    served(scenario)


def test_empty_lines_without_end_are_refused_as_a_head_that_is_too_large() -> None:
    async def scenario(rig: Served) -> None:
        assert statuses(await rig.say(*[b"\r\n" * 100] * 30)) == [431]

    served(scenario, LIMITS)


def test_connections_beyond_those_of_one_address_are_closed() -> None:
    async def scenario(rig: Served) -> None:
        held = [await asyncio.open_connection("127.0.0.1", rig.server.port) for _ in range(2)]
        for _, writer in held:
            writer.write(GET + b"\r\n")
        for reader, _ in held:
            await reader.readuntil(b"fine")
        assert await rig.say(LAST) == b""
        held[0][1].close()
        while rig.server.connections > 1:
            await asyncio.sleep(0.001)
        assert statuses(await rig.say(LAST)) == [200]
        held[1][1].close()

    served(scenario, HttpLimits(max_connections_per_address=2))
