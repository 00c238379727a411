"""A pool speaks HTTPS to its backend, and trusts only whom it should."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import uvloop

from headrace.http import ConnectionPool, Exchange, FailedKind, serve


class Sink:
    wants_framed = False

    def __init__(self) -> None:
        self.body = b""
        self.end: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        assert status == 200

    def on_framed(self, block: bytes) -> None:
        raise AssertionError("not asked for")

    def on_data(self, data: bytes) -> None:
        self.body += data

    def on_end(self, explicit: bool) -> None:
        self.end.set_result(explicit)

    def on_failed(self, kind: FailedKind, message: str) -> None:
        self.end.set_result(kind)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine: it makes the certificate of this test")
    path = tmp_path / "both.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", *curve, *subject, "-keyout", path, "-out", "cert.pem"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path


@pytest.mark.parametrize("trusted", [True, False])
def test_https_backend_is_answered_by_whoever_has_its_certificate(certificate: Path, trusted: bool) -> None:
    def echo(exchange: Exchange) -> None:
        exchange.start(200, b"")
        exchange.write(exchange.body)
        exchange.finish()

    async def main() -> None:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(certificate)
        ours = ssl.create_default_context(cafile=str(certificate) if trusted else None)
        server = await serve(echo, "127.0.0.1", 0, ssl=theirs)
        pool = ConnectionPool(f"https://127.0.0.1:{server.port}", ssl=ours)
        for _ in range(2):
            sink = Sink()
            pool.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\n", b"x" * 100_000, sink)
            end = await asyncio.wait_for(sink.end, 10)
            assert (end, len(sink.body)) == ((True, 100_000) if trusted else (FailedKind.REFUSED, 0))
        await pool.close()
        await server.close()

    uvloop.run(main())
