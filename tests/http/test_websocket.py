"""WebSocket connections of the server through real sockets: handshake, guards, and what stands around them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from websocket_rig import (
    ACCEPTED,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    close_code,
    frame,
    frames_in,
)

from headrace.http import (
    CloseCode,
    Exchange,
    HttpLimits,
    Rounds,
    Server,
    SocketLimits,
    WebSocket,
    accept,
    handshake_fault,
    serve,
    wants_websocket,
)

OPEN = HANDSHAKE.format(path="/", headers="").encode()


class Echo:
    """Says again what it hears; `big` floods the client, `busy` waits for it."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.busy = False
        self.told: list[str] = []

    def on_text(self, message: bytes) -> None:
        if message == b"big":
            for _ in range(64):
                self.socket.send(b"x" * 100_000)
        elif message == b"bye":
            self.socket.close(CloseCode.NORMAL, "bye")
        elif message == b"busy":
            self.busy = True
        else:
            self.socket.send(message)

    def on_pause(self) -> None:
        self.told.append("pause")

    def on_resume(self) -> None:
        self.told.append("resume")

    def on_closed(self) -> None:
        self.told.append("closed")


class Rig:
    """A server of echoes, and a raw client's view of one connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.echoes: list[Echo] = []

    async def open(self, *rest: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(OPEN + b"".join(rest))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"sec-websocket-accept: %b\r\n" % ACCEPTED.encode() in head
        return reader, writer

    async def frames(self, reader: asyncio.StreamReader, count: int) -> list[tuple[int, bytes]]:
        data = b""
        while len(frames_in(data)) < count:
            piece = await reader.read(65536)
            assert piece, f"the connection ended after {frames_in(data)}"
            data += piece
        return frames_in(data)


def run(
    scenario: Callable[[Rig], Awaitable[None]],
    limits: SocketLimits | None = None,
    http_limits: HttpLimits | None = None,
    in_rounds: bool = False,
) -> None:
    async def main() -> None:
        def handler(exchange: Exchange) -> None:
            fault = handshake_fault(exchange) if wants_websocket(exchange) else None
            if not wants_websocket(exchange) or fault is not None:
                exchange.respond(200 if fault is None else fault.status, b"" if fault is None else fault.headers, b"")
                return

            def echo(socket: WebSocket) -> Echo:
                rig.echoes.append(Echo(socket))
                return rig.echoes[-1]

            accept(exchange, echo, limits or SocketLimits())

        rounds = Rounds(asyncio.get_running_loop()) if in_rounds else None
        server = await serve(handler, "127.0.0.1", 0, http_limits, rounds=rounds)
        rig = Rig(server)
        try:
            await asyncio.wait_for(scenario(rig), 10)
        finally:
            await server.close()

    uvloop.run(main())


@pytest.mark.parametrize("in_rounds", [False, True])
def test_messages_go_both_ways_and_a_close_is_answered(in_rounds: bool) -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.open()
        writer.write(frame(TEXT, b"hel", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"lo"))
        assert await rig.frames(reader, 2) == [(PONG, b"p"), (TEXT, b"hello")]
        writer.write(frame(CLOSE, b"\x03\xe8"))
        assert frames_in(await reader.read()) == [(CLOSE, b"\x03\xe8")], "and the connection ends"
        writer.close()
        while rig.server.connections:
            await asyncio.sleep(0)
        assert rig.echoes[0].told == ["closed"]

    run(scenario, in_rounds=in_rounds)


def test_what_comes_in_the_same_bytes_as_the_handshake_is_not_lost() -> None:
    async def scenario(rig: Rig) -> None:
        reader, _ = await rig.open(frame(TEXT, b"early"))
        assert await rig.frames(reader, 1) == [(TEXT, b"early")]

    run(scenario)


def test_a_handshake_may_follow_other_requests_on_its_connection() -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.server.port)
        writer.write(b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n" + OPEN + frame(TEXT, b"x"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert await rig.frames(reader, 1) == [(TEXT, b"x")]

    run(scenario)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("sec-websocket-version: 13", "sec-websocket-version: 8", 426),
        ("sec-websocket-version: 13\r\n", "", 426),
        ("connection: keep-alive, Upgrade", "connection: keep-alive", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400),
        ("HTTP/1.1", "HTTP/1.0", 400),
        ("sec-websocket-version: 13", "sec-websocket-version: 13\r\norigin: http://elsewhere", 403),
        ("upgrade: websocket", "upgrade: h2c", 200),
    ],
)
def test_a_handshake_with_a_fault_is_refused(old: str, new: str, status: int) -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.server.port)
        writer.write(OPEN.replace(old.encode(), new.encode()))
        answer = await reader.read(65536)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert (status == 426) == (b"sec-websocket-version: 13\r\n" in answer)
        writer.close()

    run(scenario)


@pytest.mark.parametrize(
    ("data", "code"),
    [(frame(TEXT, b"\xff"), 1007), (frame(TEXT, b"x" * 200), 1009), (frame(TEXT, b"x", masked=False), 1002)],
)
def test_a_fault_closes_with_its_code_and_the_rest_runs_dry(data: bytes, code: int) -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.open()
        writer.write(data + frame(TEXT, b"dropped"))
        ((opcode, payload),) = frames_in(await reader.read())
        assert (opcode, close_code(payload)) == (CLOSE, code)
        assert rig.echoes[0].told == ["closed"]
        writer.write(frame(TEXT, b"dropped"))
        writer.write_eof()
        while rig.server.connections:
            await asyncio.sleep(0)

    run(scenario, SocketLimits(max_message_bytes=100))


def test_a_silent_client_is_pinged_and_cut_off_without_an_answer() -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.open()
        now_s = rig.server.now_s()
        rig.server.sweep(now_s + 5.0)
        rig.server.sweep(now_s + 31.0)
        assert await rig.frames(reader, 1) == [(PING, b"")]
        writer.write(frame(PONG))
        writer.write(frame(TEXT, b"here"))
        assert await rig.frames(reader, 1) == [(TEXT, b"here")]
        rig.server.sweep(rig.server.now_s() + 31.0)
        rig.server.sweep(rig.server.now_s() + 62.0)
        while await reader.read(65536):
            pass
        assert rig.echoes[0].told == ["closed"]

    run(scenario)


@pytest.mark.parametrize("busy", [False, True])
def test_a_connection_that_nobody_uses_is_closed_unless_something_is_under_way(busy: bool) -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.open()
        if busy:
            writer.write(frame(TEXT, b"busy"))
            while not rig.echoes[0].busy:
                await asyncio.sleep(0)
        rig.server.sweep(rig.server.now_s() + 31.0)
        ((opcode, payload),) = await rig.frames(reader, 1)
        if busy:
            assert opcode == PING
            return
        assert (opcode, close_code(payload)) == (CLOSE, 1000)
        rig.server.sweep(rig.server.now_s() + 31.0)
        assert await reader.read() == b"", "a client that does not answer the close is cut off"

    run(scenario, SocketLimits(idle_timeout_s=0.0))


def test_a_client_that_takes_no_bytes_is_told_of_and_then_cut_off() -> None:
    async def scenario(rig: Rig) -> None:
        _, writer = await rig.open()
        writer.transport.pause_reading()
        writer.write(frame(TEXT, b"big"))
        while "pause" not in rig.echoes[:1][0].told:
            await asyncio.sleep(0)
        rig.server.sweep(rig.server.now_s() + 121.0)
        while rig.server.connections:
            await asyncio.sleep(0)
        assert rig.echoes[0].told == ["pause", "closed"]

    run(scenario)


def test_a_client_that_catches_up_gets_everything() -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.open()
        writer.write(frame(TEXT, b"big"))
        while "pause" not in rig.echoes[0].told:
            await asyncio.sleep(0)
        writer.write(frame(TEXT, b"last"))
        found = await rig.frames(reader, 65)
        assert (len(found), found[-1]) == (65, (TEXT, b"last"))
        assert rig.echoes[0].told == ["pause", "resume"]

    run(scenario)


def test_a_server_that_drains_closes_connections_that_rest_and_waits_for_others() -> None:
    async def scenario(rig: Rig) -> None:
        resting, _ = await rig.open()
        working, writer = await rig.open()
        writer.write(frame(TEXT, b"busy"))
        while not rig.echoes[1].busy:
            await asyncio.sleep(0)
        draining = asyncio.ensure_future(rig.server.drain(5.0))
        ((_, payload),) = await rig.frames(resting, 1)
        assert close_code(payload) == CloseCode.GOING_AWAY
        writer.write(frame(TEXT, b"still here"))
        assert await rig.frames(working, 1) == [(TEXT, b"still here")]
        rig.echoes[1].busy = False
        rig.echoes[1].socket.rest()
        ((_, payload),) = await rig.frames(working, 1)
        assert close_code(payload) == CloseCode.GOING_AWAY
        writer.write(frame(CLOSE, b"\x03\xe9"))
        rig.server.sweep(rig.server.now_s() + 11.0)
        assert await draining

    run(scenario)


def test_what_the_handler_closes_is_closed_and_takes_no_more() -> None:
    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.open()
        writer.write(frame(TEXT, b"bye") + frame(TEXT, b"more"))
        assert await rig.frames(reader, 1) == [(CLOSE, b"\x03\xe8bye")]
        writer.write(frame(CLOSE, b"\x03\xe8"))
        assert await reader.read() == b""
        rig.echoes[0].socket.send(b"too late")
        assert not rig.echoes[0].socket.open

    run(scenario)
