"""Backends call one model by different names: each is asked by its own, and clients hear the fleet's."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from dataclasses import replace

import pytest
from emulated_rig import MODEL, Ask, through
from gateway_rig import DONE, LAST, SSE_HEAD, Rig, RunRig, ScriptedBackend, chunk, raw_post
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import rng
from headrace.fleet import Fleet
from headrace.gateway.renamed_stream import renamed
from headrace.http import FailedKind, unframe
from headrace.policy import PolicyEngine
from headrace.wire import ApiName, chat_chunk, chat_usage_chunk
from headrace.wire.apis import APIS, Accepts
from headrace.wire.canonical import Request, Text, Turn

THEIRS, OTHERS = "maker/the-model", "m"
APIS_HERE: tuple[ApiName, ...] = ("chat", "responses", "messages", "completions")
SAID = re.compile(rb'"model" ?: ?"([^"]*)"')
Asked = tuple[int, dict[bytes, bytes], bytes, bool]


def request_of(api: ApiName, stream: bool) -> bytes:
    turns = (Turn("user", (Text(f'a "model": "{MODEL}"'),)),)
    prompts = ("Go on.",) if api == "completions" else ()
    request = Request(
        api=api, model=MODEL, turns=() if prompts else turns, prompts=prompts, stream=stream, max_output_tokens=40
    )
    return APIS[api].write_request(request, Accepts(default_max_output_tokens=40)).body


def names_in(body: bytes) -> set[str]:
    """Every name of a model that the answer says, wherever."""
    return {name.decode() for name in SAID.findall(body)}


@pytest.mark.usefixtures("backends_of_one_api")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "backend"), list(itertools.product(APIS_HERE, APIS_HERE)))
def test_a_backend_is_asked_by_its_own_name_and_the_client_hears_the_fleet_s(
    client: ApiName, backend: ApiName, stream: bool
) -> None:
    """The emulator answers 404 to any other name, so an answer shows which one it was asked by."""
    if backend == "completions" != client:
        pytest.skip("a conversation has no place in a bare prompt")
    path, body = APIS[client].path, request_of(client, stream)
    answer = through(lambda ask, _: ask(path=path, raw=body), f"only-{backend}", names=(THEIRS,))
    status, _, said, complete = answer
    assert (status, complete, names_in(said)) == (200, True, {MODEL}), said


def test_vectors_are_asked_for_by_the_backend_s_name() -> None:
    asked = {"path": "/v1/embeddings", "input": "hi"}
    status, _, said, _ = through(lambda ask, _: ask(**asked), "openai-compatible", names=(THEIRS,))
    assert (status, names_in(said)) == (200, {MODEL})


@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_goes_by_the_name_of_the_backend_that_it_goes_to(stream: bool) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> list[Asked]:
        return [await ask("b0=overloaded", stream=stream), await ask("b1=overloaded", stream=stream)]

    for names in ((THEIRS, OTHERS), (None, THEIRS), (THEIRS, None)):
        answers = through(scenario, "vllm", "openai-compatible", names=names)
        assert [(status, names_in(said)) for status, _, said, _ in answers] == [(200, {MODEL})] * 2


@pytest.mark.parametrize("names", [(THEIRS, OTHERS), (None, THEIRS), (THEIRS, None)])
def test_whoever_goes_on_with_a_broken_answer_is_asked_by_its_name(names: tuple[str | None, ...]) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> Asked:
        return await ask("b0=cut@3", stream=True, tokens=9)

    status, _, said, complete = through(scenario, "vllm", "vllm", names=names)
    assert (status, complete, names_in(said)) == (200, True, {MODEL})
    assert b": headrace-rescued b1" in said


def test_a_fallback_model_has_names_of_its_own(run_rig: RunRig) -> None:
    """The one that answers is what the client hears."""

    def with_fallback(fleet: Fleet) -> Fleet:
        other = replace(fleet.models["m"], name="second")
        deployment = replace(fleet.deployments["d1"], model=other)
        pools = fleet.pools | {"p1": replace(fleet.pools["p1"], deployment=deployment)}
        routes = (replace(fleet.routes[0], pools=("p0",), model="m"),)
        routes += (replace(fleet.routes[0], pools=("p1",), model="second"),)
        return replace(
            fleet,
            models=fleet.models | {"second": other},
            deployments=fleet.deployments | {"d1": deployment},
            pools=pools,
            routes=routes,
            fallbacks={"m": ("second",)},
        )

    first = ScriptedBackend(None)
    second = ScriptedBackend(SSE_HEAD + chunk(*stream_of("x/second"), DONE) + LAST)

    async def scenario(rig: Rig) -> None:
        status, _, said, complete = await rig.ask(raw_post(b'{"model":"m","stream":true,"messages":[]}'))
        assert (status, complete, names_in(said)) == (200, True, {"second"})
        assert {body["model"] for body in first.bodies} == {"x/m"}
        assert [body["model"] for body in second.bodies] == ["x/second"]

    names = ({"served_model_name": "x/m"}, {"served_model_name": "x/second"})
    run_rig(scenario, first, second, settings=names, fleet_with=with_fallback, engine_for=real_engine)


def real_engine(fleet: Fleet) -> PolicyEngine:
    return PolicyEngine(fleet, rng.stream(0, "policy"))


def stream_of(name: str) -> list[bytes]:
    finish = chat_chunk("c", name, 1, None, finish_reason="stop")
    return [chat_chunk("c", name, 1, "", role=True), *(chat_chunk("c", name, 1, f" t{i}") for i in range(5)), finish]


def test_nothing_but_the_name_is_replaced(run_rig: RunRig) -> None:
    """A body that headrace has no reason to touch keeps its spaces."""
    backend = ScriptedBackend(SSE_HEAD + chunk(*stream_of(THEIRS), DONE) + LAST)
    body = b'{ "stream" : true, "stream_options":{"include_usage":true}, "model"\t: "m", "messages" : [ ] }'

    async def scenario(rig: Rig) -> None:
        status, _, said, complete = await rig.ask(raw_post(body))
        assert (status, complete, names_in(said)) == (200, True, {"m"})
        assert backend.bodies == [{**json.loads(body), "model": THEIRS}]
        length = len(body) - len(b"m") + len(THEIRS.encode())
        assert b"content-length: %d\r\n" % length in backend.heads[0]

    run_rig(scenario, backend, settings=[{"served_model_name": THEIRS}])


def test_a_backend_that_says_another_name_than_it_was_asked_for_is_passed_on(run_rig: RunRig) -> None:
    snapshot = THEIRS + "-2026-01-01"
    backend = ScriptedBackend(SSE_HEAD + chunk(*stream_of(snapshot), DONE) + LAST)

    async def scenario(rig: Rig) -> None:
        _, _, said, _ = await rig.ask(raw_post(b'{"model":"m","stream":true,"messages":[]}'))
        assert names_in(said) == {snapshot}

    run_rig(scenario, backend, settings=[{"served_model_name": THEIRS}])


@pytest.mark.parametrize("name", [None, THEIRS])
def test_usage_that_comes_after_the_finish_is_counted_and_withheld(run_rig: RunRig, name: str | None) -> None:
    """headrace asked for it and the client did not; each event comes in a read of its own."""

    async def one_by_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD)
        for event in (*stream_of(name or "m"), chat_usage_chunk("c", name or "m", 1, 11, 2), DONE):
            writer.write(chunk(event))
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(LAST)

    async def scenario(rig: Rig) -> None:
        for _ in range(3):  # chunks of a size that is new are read another way
            _, _, said, complete = await rig.ask(raw_post(b'{"model":"m","stream":true,"messages":[]}'))
            assert (complete, names_in(said), b'"usage":{' in said) == (True, {"m"}, False)
        assert [(row["input_tokens"], row["output_tokens"]) for row in rig.ledger.ended] == [(11, 2)] * 3

    run_rig(scenario, ScriptedBackend(one_by_one), settings=[{} if name is None else {"served_model_name": name}])


class Sink:
    """Keeps what it is given."""

    wants_framed = True

    def __init__(self) -> None:
        self.payload = b""
        self.end = ""

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None: ...

    def on_framed(self, block: bytes) -> None:
        assert unframe(block).endswith(b"\n")
        self.payload += unframe(block)

    def on_data(self, data: bytes) -> None:
        self.payload += data

    def on_end(self, explicit: bool) -> None:
        self.end = "complete"

    def on_failed(self, kind: FailedKind, message: str) -> None:
        self.end = message


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 90), st.booleans()), max_size=30), st.booleans())
def test_however_a_stream_is_cut_its_client_hears_one_name(cuts: list[tuple[int, bool]], breaks: bool) -> None:
    spaced = b'data: {"model": "%b","x":"\\"model\\":\\"%b\\""}\n\n' % ((THEIRS.encode(),) * 2)
    payload = b"".join(stream_of(THEIRS)) + spaced + b"data: [DONE]\n"
    expected = (
        b"".join(stream_of("ours")) + spaced.replace(b'"model": "' + THEIRS.encode(), b'"model":"ours') + DONE[:13]
    )
    sink = Sink()
    taker, rest = renamed(sink, THEIRS, "ours"), payload
    for size, framed in cuts:
        piece, aligned = rest[:size], payload[: len(payload) - len(rest)][-1:] in (b"", b"\n")
        if framed and aligned:  # as the pump does: whole lines only
            piece = rest[: rest.find(b"\n", size) + 1]
        rest = rest[len(piece) :]
        if framed and aligned and piece:
            taker.on_framed(b"%x\r\n%b\r\n" % (len(piece), piece))
        elif piece:
            taker.on_data(piece)
    if breaks:
        taker.on_failed(FailedKind.RESET, "reset")
        passed = payload[: len(payload) - len(rest)]
        whole = passed.replace(b'"model":"%b"' % THEIRS.encode(), b'"model":"ours"')
        assert sink.payload == whole.replace(b'"model": "%b"' % THEIRS.encode(), b'"model":"ours"')
        assert sink.end == "reset"
        return
    taker.on_data(rest)
    taker.on_end(True)
    assert (sink.payload, sink.end) == (expected, "complete")
