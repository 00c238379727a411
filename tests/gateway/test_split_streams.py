"""However a backend's bytes are split, into chunks and on their way, every client gets the same answer."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from gateway_rig import LAST, SSE_HEAD, Rig, RunRig, ScriptedBackend, chunk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.wire import ApiName
from headrace.wire.apis import APIS

pytestmark = pytest.mark.usefixtures("backends_of_one_api")
CHATTY: tuple[ApiName, ...] = ("chat", "responses", "messages")
RECORDED = Path(__file__).parents[1] / "wire" / "recorded"
cuts = st.lists(st.integers(0, 1_000_000), max_size=12)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(marks)]


def answer_to(run_rig: RunRig, client: ApiName, backend: ApiName, chunks: list[bytes], blocks: list[int]) -> bytes:
    """The client's stream, without what is new each time: ids, and when it was made."""
    request = json.loads((RECORDED / f"{client}.request.json").read_bytes())
    body = json.dumps(request | {"model": "m", "stream": True}).encode()
    found = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for block in cut(SSE_HEAD + chunk(*chunks) + LAST, blocks):
            writer.write(block)
            await asyncio.sleep(0)
        await reader.read()

    async def scenario(rig: Rig) -> None:
        nonlocal found
        path = APIS[client].path.encode()
        head = b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % (path, len(body))
        status, _, found, complete = await rig.ask(head + body)
        assert (status, complete) == (200, True), found
        found = found.replace(f"{rig.gateway.gateway.run_id.decode()}00000001".encode(), b"ID")

    run_rig(scenario, ScriptedBackend(serve), settings=[{"dialect": f"only-{backend}"}])
    return re.sub(rb'"created(_at)?":\d+', b"", found)


@pytest.mark.parametrize("backend", CHATTY)
@pytest.mark.parametrize("client", CHATTY)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts, cuts)
def test_the_answer_does_not_depend_on_the_split(
    run_rig: RunRig, client: ApiName, backend: ApiName, chunk_cuts: list[int], block_cuts: list[int]
) -> None:
    stream = (RECORDED / f"{backend}.tools.sse").read_bytes()
    whole = answer_to(run_rig, client, backend, [stream], [])
    assert answer_to(run_rig, client, backend, cut(stream, chunk_cuts), block_cuts) == whole
    if client == backend and client != "chat":
        assert whole == re.sub(rb'"created(_at)?":\d+', b"", stream), "what passes is what came"
