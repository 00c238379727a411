"""The server through real sockets: order, limits, time guards, back-pressure, and endings that cannot be mistaken."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from headrace.http import Exchange, HttpLimits, Rounds, Server, serve

HELLO = b"GET /%b HTTP/1.1\r\nhost: h\r\n\r\n"


def echo(exchange: Exchange) -> None:
    exchange.respond(200, b"", b"%b %b %b" % (exchange.method, exchange.path, exchange.body))


def run(
    handler: Callable[[Exchange], None],
    scenario: Callable[[Server], Awaitable[None]],
    limits: HttpLimits | None = None,
    in_rounds: bool = False,
) -> None:
    async def main() -> None:
        rounds = Rounds(asyncio.get_running_loop()) if in_rounds else None
        server = await serve(handler, "127.0.0.1", 0, limits, rounds=rounds)
        try:
            await asyncio.wait_for(scenario(server), 10)
        finally:
            await server.close()

    uvloop.run(main())


async def talk(server: Server, *pieces: bytes, until_close: bool = True) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0)
    if until_close:
        answer = await reader.read()
    else:
        answer = await reader.read(65536)
    writer.close()
    return answer


CLOSING = b"GET /%b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize("in_rounds", [False, True])
def test_pipelined_requests_are_answered_in_order_even_if_answers_come_late(in_rounds: bool) -> None:
    held: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/a":
            held.append(exchange)
            asyncio.get_running_loop().call_later(0.01, exchange.respond, 200, b"", b"late a")
        else:
            assert not held[0].open  # nothing is handed over before the answer to what came before it has ended
            echo(exchange)

    async def scenario(server: Server) -> None:
        answer = await talk(server, HELLO % b"a" + HELLO % b"b" + CLOSING % b"c")
        assert answer.index(b"late a") < answer.index(b"GET /b") < answer.index(b"GET /c")
        assert answer.count(b"HTTP/1.1 200") == 3

    run(handler, scenario, in_rounds=in_rounds)


def test_a_body_comes_whole_whether_sized_or_chunked() -> None:
    async def scenario(server: Server) -> None:
        sized = b"POST /s HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello"
        parts = (
            b"POST /c HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        )
        answer = await talk(server, sized, *(parts[i : i + 7] for i in range(0, len(parts), 7)))
        assert b"POST /s hello" in answer
        assert b"POST /c hello" in answer

    run(echo, scenario)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nhost: h\n\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 101\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n65\r\n" + b"x" * 101, 413),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"x" * 600 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"x" * 600, 431),
    ],
)
def test_what_is_not_an_acceptable_request_is_refused_before_any_handler(request_bytes: bytes, status: int) -> None:
    seen: list[Exchange] = []

    async def scenario(server: Server) -> None:
        answer = await talk(server, request_bytes)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in answer
        assert seen == []

    run(seen.append, scenario, HttpLimits(max_body_bytes=100, max_head_bytes=500))


def test_a_refusal_comes_after_the_answers_to_what_was_good() -> None:
    async def scenario(server: Server) -> None:
        answer = await talk(server, HELLO % b"good" + b"nonsense\r\n\r\n")
        assert answer.index(b"GET /good") < answer.index(b"HTTP/1.1 400")

    run(echo, scenario)


def test_a_slow_head_and_a_slow_body_get_408_when_the_sweep_finds_them() -> None:
    async def scenario(server: Server) -> None:
        for start in (b"GET / HT", b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(start)
            await asyncio.sleep(0.02)
            server.sweep(server.now_s() + 4.0)
            writer.write(start[-1:])  # dripping on does not move the deadline
            await asyncio.sleep(0.02)
            server.sweep(server.now_s() + 5.0)
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            writer.close()

    run(echo, scenario, HttpLimits(head_timeout_s=4.5))


def test_an_idle_connection_is_closed_and_one_being_answered_is_not() -> None:
    held: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/hold":
            held.append(exchange)
        else:
            echo(exchange)

    async def scenario(server: Server) -> None:
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", server.port)
        busy, busy_writer = await asyncio.open_connection("127.0.0.1", server.port)
        idle_writer.write(HELLO % b"x")
        busy_writer.write(HELLO % b"hold")
        await idle.readuntil(b"GET /x ")
        while not held:
            await asyncio.sleep(0.001)
        server.sweep(server.now_s() + 1000.0)
        assert await idle.read() == b""
        held[0].respond(200, b"", b"still here")
        assert b"still here" in await busy.readuntil(b"here")
        busy_writer.close()

    run(handler, scenario)


@pytest.mark.parametrize("in_rounds", [False, True])
def test_only_finish_makes_a_streamed_answer_complete(in_rounds: bool) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.start(200, b"")
        exchange.write(b"one")
        exchange.write_raw(b"3\r\ntwo\r\n")
        if exchange.path == b"/whole":
            exchange.finish()
        else:
            exchange.abort()

    async def scenario(server: Server) -> None:
        whole = await talk(server, CLOSING % b"whole")
        assert whole.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        broken = await talk(server, HELLO % b"broken")
        assert broken.endswith(b"3\r\none\r\n3\r\ntwo\r\n")

    run(handler, scenario, in_rounds=in_rounds)


def test_http_1_0_gets_payload_until_close_and_a_reset_when_it_is_cut() -> None:
    def handler(exchange: Exchange) -> None:
        exchange.start(200, b"")
        exchange.write_raw(b"3\r\none\r\n")
        if exchange.path == b"/whole":
            exchange.finish()
        else:
            asyncio.get_running_loop().call_later(0.01, exchange.abort)

    async def scenario(server: Server) -> None:
        whole = await talk(server, b"GET /whole HTTP/1.0\r\n\r\n")
        assert whole.endswith(b"\r\n\r\none")
        assert b"chunked" not in whole
        with pytest.raises(ConnectionResetError):
            await talk(server, b"GET /cut HTTP/1.0\r\n\r\n")

    run(handler, scenario)


def test_head_gets_the_head_only() -> None:
    async def scenario(server: Server) -> None:
        answer = await talk(server, b"HEAD /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        assert b"content-length: 8\r\n" in answer
        assert answer.endswith(b"\r\n\r\n")

    run(echo, scenario)


def test_expect_100_continue_is_answered_before_the_body() -> None:
    async def scenario(server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert b"POST / ok" in await reader.readuntil(b"ok")
        writer.close()

    run(echo, scenario)


def test_a_client_that_goes_away_is_reported_once_and_late_calls_change_nothing() -> None:
    held: list[Exchange] = []
    gone: list[bytes] = []

    def handler(exchange: Exchange) -> None:
        held.append(exchange)
        exchange.on_gone = lambda: gone.append(exchange.path)

    async def scenario(server: Server) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HELLO % b"x")
        while not held:
            await asyncio.sleep(0.001)
        writer.close()
        while not gone:
            await asyncio.sleep(0.001)
        exchange = held[0]
        exchange.respond(200, b"", b"")
        exchange.start(200, b"")
        exchange.write(b"x")
        exchange.finish()
        exchange.abort()
        assert gone == [b"/x"]
        assert not exchange.open

    run(handler, scenario)


def test_a_slow_reader_pauses_its_source_and_resumes_it() -> None:
    log: list[str] = []
    held: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        held.append(exchange)
        exchange.on_pause = lambda: log.append("pause")
        exchange.on_resume = lambda: log.append("resume")
        exchange.start(200, b"")

    async def scenario(server: Server) -> None:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", server.port))
        await loop.sock_sendall(raw, HELLO % b"x")
        while not held:
            await asyncio.sleep(0.001)
        written = 0
        while "pause" not in log:
            held[0].write(b"x" * 65536)
            written += 65536
            await asyncio.sleep(0)
            assert written < 256 * 1024 * 1024
        received = 0
        while "resume" not in log:
            received += len(await loop.sock_recv(raw, 1 << 20))
        assert log == ["pause", "resume"]
        raw.close()

    run(handler, scenario)


def test_a_client_that_takes_nothing_is_cut_off_by_the_sweep() -> None:
    held: list[Exchange] = []
    gone: list[bool] = []

    def handler(exchange: Exchange) -> None:
        held.append(exchange)
        exchange.on_gone = lambda: gone.append(True)
        exchange.start(200, b"")
        for _ in range(400):
            exchange.write(b"x" * 65536)

    async def scenario(server: Server) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(HELLO % b"x")
        while not held:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        server.sweep(server.now_s() + 1000.0)
        while not gone:
            await asyncio.sleep(0.001)
        writer.close()

    run(handler, scenario)


def test_drain_lets_answers_end_and_closes_idle_connections() -> None:
    held: list[Exchange] = []

    async def scenario(server: Server) -> None:
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", server.port)
        busy, busy_writer = await asyncio.open_connection("127.0.0.1", server.port)
        busy_writer.write(HELLO % b"x")
        while not held:
            await asyncio.sleep(0.001)
        draining = asyncio.ensure_future(server.drain(5.0))
        assert await idle.read() == b""
        held[0].respond(200, b"", b"done")
        assert (await busy.read()).endswith(b"done")
        assert await draining
        with pytest.raises(OSError):  # noqa: PT011  # refused, or reset
            await talk(server, HELLO % b"y", until_close=False)
        idle_writer.close()
        busy_writer.close()

    run(held.append, scenario)


def test_drain_says_when_it_had_to_cut_something_off() -> None:
    held: list[Exchange] = []

    async def scenario(server: Server) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HELLO % b"x")
        while not held:
            await asyncio.sleep(0.001)
        assert not await server.drain(0.01)
        writer.close()

    run(held.append, scenario)


def test_connections_beyond_the_limit_are_closed() -> None:
    async def scenario(server: Server) -> None:
        first, first_writer = await asyncio.open_connection("127.0.0.1", server.port)
        first_writer.write(HELLO % b"x")
        await first.readuntil(b"GET /x ")
        try:
            answer = await talk(server, HELLO % b"y")
        except ConnectionResetError:
            answer = b""
        assert answer == b""
        first_writer.close()

    run(echo, scenario, HttpLimits(max_connections=1))


@pytest.mark.parametrize("cut", [0, 5, 90])
def test_an_upgrade_is_ignored_and_the_body_read_all_the_same(cut: int) -> None:
    head = b"POST /a HTTP/1.1\r\nhost: h\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
    request = head + b"http2-settings: AAMAAABk\r\ncontent-length: 9\r\n\r\n{'a': 12}"

    async def scenario(server: Server) -> None:
        at = len(request) - 9 + cut if cut < 9 else cut
        answer = await talk(server, request[:at], request[at:])
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"POST /a {'a': 12}")
        assert b"connection: close" in answer

    run(echo, scenario)


def test_a_chunked_body_behind_an_upgrade_is_refused_with_what_to_do() -> None:
    head = b"POST /a HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n\r\n"

    async def scenario(server: Server) -> None:
        answer = await talk(server, head + b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"without the upgrade header" in answer

    run(echo, scenario)


def test_a_large_body_does_not_count_for_the_head_that_is_read_with_its_end() -> None:
    limits = HttpLimits(max_head_bytes=1000)
    first = b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000

    async def scenario(server: Server) -> None:
        second = CLOSING % b"b"
        answer = await talk(server, first + second[:20], second[20:])
        assert answer.count(b"HTTP/1.1 200") == 2

    run(lambda exchange: exchange.respond(200, b"", b"ok"), scenario, limits)
