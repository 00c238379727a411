"""Bodies that are nested thousands deep: refused or passed on, and the gateway lives on."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "gateway"))

from gateway_rig import JSON, WHOLE, Rig, ScriptedBackend, raw_post, run_rig
from rescue_rig import real_engine

DEEP = (100, 300, *range(900, 1000, 7), 5_000, 200_000)
PLACES = (
    b'{"model":"m","messages":[],"x":%b}',
    b'{"model":"m","messages":[{"role":"user","content":%b}]}',
    b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","name":"f",'
    b'"input_schema":%b,"function":{"name":"f","parameters":%b}}]}',
    b'{"model":"m","input":[{"role":"user","content":"a"}],"tools":[{"type":"function","name":"f","parameters":%b}]}',
    b'{"model":"m","headrace":{"class":%b}}',
    b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":%b}]}]}',
)
PATHS = (b"/v1/chat/completions", b"/v1/messages", b"/v1/responses", b"/v1/messages/count_tokens")


class Incurious(ScriptedBackend):
    """Answers without a look at the body."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
                writer.write(self.steps.pop(0) if len(self.steps) > 1 else self.steps[0])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_TEST_KEY", "sk-backend")


def nested(depth: int, kind: int) -> bytes:
    return b"[" * depth + b"]" * depth if kind else b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dialect", ["openai-compatible", "cerebras"])  # as it came, and translated to chat
@pytest.mark.parametrize("kind", [0, 1])
def test_a_body_nested_deeply_is_answered_and_never_a_crash(path: bytes, dialect: str, kind: int) -> None:
    async def scenario(rig: Rig) -> None:
        for depth in DEEP:
            for place in PLACES:
                body = place.replace(b"%b", nested(depth, kind))
                status, _, said, whole = await rig.ask(raw_post(body).replace(b"/v1/chat/completions", path, 1))
                assert whole, (depth, place)
                assert status in (200, 400), (depth, place, said[:300])
                assert status == 400 or depth < 1000
        assert not rig.ledger.open

    run_rig(scenario, Incurious(WHOLE), settings=[{"dialect": dialect}], engine_for=real_engine)


@pytest.mark.parametrize("path", PATHS[:3])
@pytest.mark.parametrize("dialect", ["openai-compatible", "cerebras"])
def test_an_answer_nested_deeply_fails_its_attempt_only(path: bytes, dialect: str) -> None:
    deep = b'{"choices":[{"message":%b}],"error":%b}' % ((nested(100_000, 0),) * 2)
    backend = Incurious(b"HTTP/1.1 200 OK\r\n" + JSON + b"content-length: %d\r\n\r\n%b" % (len(deep), deep), WHOLE)

    async def scenario(rig: Rig) -> None:
        body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}],"input":"a"}'
        for _ in range(2):
            status, _, _, whole = await rig.ask(raw_post(body).replace(b"/v1/chat/completions", path, 1))
            assert whole
            assert status in (200, 502, 503)
        assert not rig.ledger.open

    run_rig(scenario, backend, settings=[{"dialect": dialect}], engine_for=real_engine)
