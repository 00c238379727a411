"""Keys of backend and client, planted in a gateway at work: no answer, page, record or message has them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "gateway"))

from gateway_rig import JSON, ROLE, SSE_HEAD, STREAM, TOKENS, WHOLE, Rig, ScriptedBackend, chunk, post, run_rig

KEY, CLIENT = b"sk-planted-backend-key-0123456789", b"sk-planted-client-key-9876543210"
HEADERS = b"authorization: Bearer %b\r\nx-api-key: %b\r\ncookie: c=%b\r\n" % ((CLIENT,) * 3)
HOP_BY_HOP = (
    b"connection: close, x-named\r\nx-named: theirs\r\nkeep-alive: timeout=5\r\n"
    b"proxy-authorization: p\r\nte: trailers\r\n"
)


def echo(status: int) -> bytes:
    body = b'{"error":{"message":"wrong key %b","type":"t","param":null,"code":null}}' % KEY
    extra = b"set-cookie: session=%b\r\nx-internal-node: gpu-17\r\nserver: theirs\r\nx-echo: %b\r\n" % (KEY, KEY)
    return b"HTTP/1.1 %d X\r\n%b%bcontent-length: %d\r\n\r\n%b" % (status, JSON, extra, len(body), body)


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_TEST_KEY", KEY.decode())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 429, 500, 503])
def test_a_backend_that_repeats_the_key_in_its_error_shows_it_to_nobody(
    status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = ScriptedBackend(echo(status))

    async def scenario(rig: Rig) -> None:
        reader, writer = await rig.send(post(HEADERS))
        seen = await reader.readuntil(b"}}")
        writer.close()
        for port, path in ((rig.gateway.port, b"/metrics"), (rig.gateway.admin_port, b"/admin/state")):
            _, headers, body, _ = await rig.ask(b"GET %b HTTP/1.1\r\nhost: h\r\n\r\n" % path, port)
            seen += repr(headers).encode() + body
        seen += repr((rig.journal, rig.ledger.open, rig.ledger.ended, rig.ledger.terms)).encode()
        link = rig.gateway.gateway.links["b0"]
        seen += repr((link, link.pool, link.credentials, link.backend)).encode()
        assert b"Bearer " + KEY in backend.heads[0]  # it was planted
        assert KEY not in seen
        assert CLIENT not in seen

    run_rig(scenario, backend)
    out, err = capfd.readouterr()
    assert KEY.decode() not in out + err
    assert CLIENT.decode() not in out + err


@pytest.mark.parametrize("dialect", ["openai-compatible", "cerebras"])  # the stream as it came, and translated
def test_a_backend_that_repeats_the_key_inside_a_stream_shows_it_to_nobody(dialect: str) -> None:
    error = b'data: {"error":{"message":"wrong key %b","type":"t","code":null}}\n\n' % KEY

    async def scenario(rig: Rig) -> None:
        request = post(HEADERS, stream=True, max_tokens=99, messages=[{"role": "user", "content": "a"}])
        if dialect == "cerebras":
            request = request.replace(b"/v1/chat/completions", b"/v1/messages", 1)
        reader, writer = await rig.send(request)
        seen = await reader.readuntil(b"t4")
        begun.set()
        seen += await reader.read()
        writer.close()
        assert b"Bearer " + KEY in backend.heads[0]
        assert b"wrong key [redacted]" in seen
        assert KEY not in seen

    async def breaks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(ROLE, *TOKENS))
        await begun.wait()
        writer.write(chunk(error))

    begun = asyncio.Event()
    backend = ScriptedBackend(breaks)
    run_rig(scenario, backend, settings=[{"dialect": dialect}])


@pytest.mark.parametrize("stream", [False, True])
def test_neither_side_sees_headers_that_are_not_for_it(stream: bool) -> None:
    secret = b"set-cookie: session=1\r\nx-internal-node: gpu-17\r\nserver: theirs\r\nalt-svc: h3\r\n"
    answer = (STREAM if stream else WHOLE).replace(b"\r\n", b"\r\n" + secret, 1)
    backend = ScriptedBackend(answer)

    async def scenario(rig: Rig) -> None:
        fields: dict[str, Any] = {"stream": True} if stream else {}
        status, headers, _, whole = await rig.ask(post(HEADERS + HOP_BY_HOP, **fields))
        assert (status, whole) == (200, True)
        allowed = {b"content-type", b"content-length", b"transfer-encoding", b"date", b"connection"}
        assert {name for name in headers if not name.startswith(b"x-headrace-")} <= allowed
        sent = backend.heads[0]
        assert [line for line in sent.split(b"\r\n") if line.startswith(b"authorization")] == [
            b"authorization: Bearer " + KEY
        ]
        assert b"host: 127.0.0.1:%d\r\n" % backend.port in sent
        for name in (
            b"cookie",
            b"x-api-key",
            b"x-named",
            b"keep-alive",
            b"proxy-authorization",
            b"te: ",
            b"connection",
        ):
            assert b"\r\n" + name not in sent
        assert CLIENT not in sent

    run_rig(scenario, backend)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_a_backend_is_never_followed(status: int) -> None:
    elsewhere = ScriptedBackend(WHOLE)
    redirect = ScriptedBackend(
        b"HTTP/1.1 %d X\r\nlocation: http://169.254.169.254/latest/meta-data/\r\ncontent-length: 0\r\n\r\n" % status
    )

    async def scenario(rig: Rig) -> None:
        status, _, _, _ = await rig.ask(post())
        assert status == 200  # by the other backend
        assert len(redirect.heads) == len(elsewhere.heads) == 1

    run_rig(scenario, redirect, elsewhere)
