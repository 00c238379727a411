"""Pools and their connections against backends that behave well, badly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from headrace.http import ClientExchange, ConnectionPool, FailedKind, PoolLimits, unframe
from headrace.http import client as client_module

REQUEST = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Sink:
    wants_framed = True

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ends: list[object] = []
        self.done = asyncio.Event()

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        assert not self.status
        self.status = status

    def on_framed(self, block: bytes) -> None:
        self.on_data(unframe(block))

    def on_data(self, data: bytes) -> None:
        assert self.status
        self.body += data

    def on_end(self, explicit: bool) -> None:
        self.ends.append(explicit)
        self.done.set()

    def on_failed(self, kind: FailedKind, message: str) -> None:
        self.ends.append(kind)
        self.done.set()


class Backend:
    """Answers the n-th request it sees with the n-th script entry: bytes to send; None closes at once."""

    def __init__(self, *script: bytes | None, close_after: bool = False) -> None:
        self.script = list(script)
        self.close_after = close_after
        self.connections = 0
        self.requests = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(4)
                self.requests += 1
                answer = self.script.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                if self.close_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


def run(
    backend: Backend, scenario: Callable[[ConnectionPool], Awaitable[None]], limits: PoolLimits | None = None
) -> None:
    async def main() -> None:
        server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
        pool = ConnectionPool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", limits)
        try:
            await asyncio.wait_for(scenario(pool), 10)
        finally:
            await pool.close()
            server.close()

    uvloop.run(main())


async def ask(pool: ConnectionPool) -> Sink:
    sink = Sink()
    pool.send(REQUEST, b"body", sink)
    assert not sink.ends, "no sink is called from within send"
    await sink.done.wait()
    return sink


def state(pool: ConnectionPool) -> str:
    return repr(pool).partition(" idle=")[2].rstrip(">")


def test_a_connection_is_used_again_and_repr_tells_the_state() -> None:
    backend = Backend(OK, OK)

    async def scenario(pool: ConnectionPool) -> None:
        assert state(pool) == "0 active=0 connecting=0 waiting=0"
        sink = Sink()
        pool.send(REQUEST, b"body", sink)
        assert state(pool) == "0 active=0 connecting=1 waiting=1"
        await sink.done.wait()
        assert state(pool) == "1 active=0 connecting=0 waiting=0"
        second = await ask(pool)
        assert (second.status, second.body, second.ends) == (200, b"ok", [True])
        assert backend.connections == 1

    run(backend, scenario)


def test_a_warm_connection_found_closed_is_replaced_and_nobody_hears_of_it() -> None:
    backend = Backend(OK, OK, close_after=True)

    async def scenario(pool: ConnectionPool) -> None:
        pool.warm_up()
        while not state(pool).startswith("1"):
            await asyncio.sleep(0.001)
        first = await ask(pool)
        assert first.ends == [True]
        second = await ask(pool)
        assert (second.body, second.ends) == (b"ok", [True])

    run(backend, scenario)


def test_a_request_is_sent_again_when_its_warm_connection_breaks_without_a_byte() -> None:
    backend = Backend(OK, None, OK)

    async def scenario(pool: ConnectionPool) -> None:
        await ask(pool)
        second = await ask(pool)
        assert (second.body, second.ends) == (b"ok", [True])
        assert backend.requests == 3

    run(backend, scenario)


def test_a_warm_connection_that_breaks_after_work_may_have_begun_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a backend that dies over a request would be given it a second time, in nobody's books."""
    monkeypatch.setattr(client_module, "STALE_S", 0.0)
    backend = Backend(OK, None, OK)

    async def scenario(pool: ConnectionPool) -> None:
        await ask(pool)
        assert (await ask(pool)).ends == [FailedKind.RESET]
        assert backend.requests == 2

    run(backend, scenario)


def test_a_fresh_connection_that_breaks_is_a_failure() -> None:
    async def scenario(pool: ConnectionPool) -> None:
        assert (await ask(pool)).ends == [FailedKind.RESET]

    run(Backend(None), scenario)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", FailedKind.RESET),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", FailedKind.RESET),
        (b"HTTP/1.1 200 OK\r\ncont", FailedKind.RESET),
        (b"SSH-2.0-OpenSSH\r\n", FailedKind.GARBAGE),
        (b"HTTP/2 200\r\n\r\n", FailedKind.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", FailedKind.GARBAGE),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", FailedKind.GARBAGE),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", FailedKind.GARBAGE),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok", FailedKind.GARBAGE),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok", FailedKind.GARBAGE),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok", FailedKind.GARBAGE),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", FailedKind.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000, FailedKind.GARBAGE),
    ],
)
def test_what_is_not_a_complete_response_fails_once(answer: bytes, kind: FailedKind) -> None:
    async def scenario(pool: ConnectionPool) -> None:
        assert (await ask(pool)).ends == [kind]
        assert state(pool).startswith("0 active=0")

    run(Backend(answer, close_after=True), scenario)


@pytest.mark.parametrize(
    ("answer", "body", "explicit", "kept"),
    [
        (OK, b"ok", True, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True, True),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"ok", True, True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", True, True),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", b"ok", True, False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok", True, False),
        (OK + b"surplus", b"ok", True, False),
    ],
)
def test_each_kind_of_body_ends_where_it_should(answer: bytes, body: bytes, explicit: bool, kept: bool) -> None:
    async def scenario(pool: ConnectionPool) -> None:
        sink = await ask(pool)
        assert (sink.body, sink.ends) == (body, [explicit])
        assert state(pool).startswith("1" if kept else "0")

    run(Backend(answer), scenario)


def test_a_body_that_ends_with_its_connection_says_so() -> None:
    async def scenario(pool: ConnectionPool) -> None:
        sink = await ask(pool)
        assert (sink.body, sink.ends) == (b"ok", [False])

    run(Backend(b"HTTP/1.1 200 OK\r\n\r\nok", close_after=True), scenario)


def test_nobody_listening_is_refused() -> None:
    async def main() -> None:
        server = await asyncio.start_server(Backend().serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        pool = ConnectionPool(f"http://127.0.0.1:{port}")
        assert (await asyncio.wait_for(ask(pool), 10)).ends == [FailedKind.REFUSED]
        await pool.close()

    uvloop.run(main())


def test_cancel_closes_the_connection_and_the_sink_hears_nothing_more() -> None:
    backend = Backend(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")

    async def scenario(pool: ConnectionPool) -> None:
        sink = Sink()
        exchange = pool.send(REQUEST, b"body", sink)
        while not sink.body:
            await asyncio.sleep(0.001)
        exchange.cancel()
        exchange.cancel()
        while "active=1" in state(pool):
            await asyncio.sleep(0.001)
        assert sink.ends == []

    run(backend, scenario)


def test_a_request_cancelled_while_it_waits_is_never_sent() -> None:
    backend = Backend(OK)

    async def scenario(pool: ConnectionPool) -> None:
        pool.send(REQUEST, b"body", Sink()).cancel()
        await ask(pool)
        assert backend.requests == 1

    run(backend, scenario)


def test_a_released_response_runs_dry_and_its_connection_is_used_again() -> None:
    backend = Backend(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok", OK)

    async def scenario(pool: ConnectionPool) -> None:
        sink = Sink()
        exchange: ClientExchange = pool.send(REQUEST, b"body", sink)
        while not sink.body:
            await asyncio.sleep(0.001)
        exchange.release()
        backend.writers[0].write(b"ok")
        while not state(pool).startswith("1"):
            await asyncio.sleep(0.001)
        assert (await ask(pool)).body == b"ok"
        assert (sink.body, sink.ends, backend.connections) == (b"ok", [], 1)

    run(backend, scenario)


def test_requests_beyond_the_limit_wait_for_a_free_connection() -> None:
    backend = Backend(OK, OK, OK)

    async def scenario(pool: ConnectionPool) -> None:
        sinks = [Sink() for _ in range(3)]
        for sink in sinks:
            pool.send(REQUEST, b"body", sink)
        assert state(pool) == "0 active=0 connecting=1 waiting=3"
        for sink in sinks:
            await sink.done.wait()
            assert sink.body == b"ok"
        assert backend.connections == 1

    run(backend, scenario, PoolLimits(max_connections=1))


def test_a_paused_response_is_not_read_on() -> None:
    big = b"x" * 8_000_000
    backend = Backend(b"HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n" + big)

    async def scenario(pool: ConnectionPool) -> None:
        sink = Sink()
        exchange = pool.send(REQUEST, b"body", sink)
        while not sink.body:
            await asyncio.sleep(0.001)
        exchange.pause_reading()
        await asyncio.sleep(0.02)
        held = len(sink.body)
        await asyncio.sleep(0.02)
        assert len(sink.body) == held < len(big)
        exchange.resume_reading()
        await sink.done.wait()
        assert len(sink.body) == len(big)

    run(backend, scenario)


def test_a_closed_pool_fails_what_it_is_given() -> None:
    async def scenario(pool: ConnectionPool) -> None:
        await pool.close()
        assert (await ask(pool)).ends == [FailedKind.REFUSED]
        assert repr(pool).endswith("closed>")

    run(Backend(), scenario)


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://host", "http://"])
def test_what_is_not_a_backend_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not a backend's URL"):
        ConnectionPool(url)
