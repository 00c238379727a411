"""Streams of a picker, whose other end is the test's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from gateway_rig import ROLE, SSE_HEAD, TOKENS, Rig, RunRig, ScriptedBackend, chunk
from picker_rig import PickerStream, picker_at, serving

from headrace.config import load_policy
from headrace.epp import picker
from headrace.fleet import Fleet, Limits
from headrace.gateway import FleetFile
from headrace.gateway.reload import Reloader
from headrace.gateway.tokens import Tokens
from headrace.policy import Arrived


@pytest.mark.parametrize("hinted", [False, True])
def test_a_request_that_is_coming_in_while_every_backend_changes_is_carried(
    run_rig: RunRig, tmp_path: Path, hinted: bool
) -> None:
    async def scenario(rig: Rig) -> None:
        endpoint = rig.fleet.backends[0].url.split("/")[2]
        async with picker_at(rig.gateway.port) as channel:
            stream = PickerStream(channel)
            await stream.begin((endpoint,) if hinted else ())
            await rig.until(lambda: rig.gateway._server.connections)
            await reload(rig, tmp_path / "fleet.toml", changed(rig.fleet))
            await stream.complete()
            assert await stream.endpoint() == endpoint
            (arrived,) = rig.engine.of(Arrived)
            assert arrived.unfit == (("b1",) if hinted else ())
            stream.call.cancel()

    run_rig(scenario, ScriptedBackend(None), ScriptedBackend(None), front=picker())


def test_a_link_keeps_the_pool_that_it_was_made_with(run_rig: RunRig, tmp_path: Path) -> None:
    """One that takes its place would leave its warm connections open."""

    async def scenario(rig: Rig) -> None:
        await reload(rig, tmp_path / "fleet.toml", changed(rig.fleet))
        pools = {name: link.pool for name, link in rig.gateway.gateway.links.items()}
        async with picker_at(rig.gateway.port) as channel:
            stream = PickerStream(channel)
            await stream.begin()
            await stream.complete()
            await stream.endpoint()
            stream.call.cancel()
        assert {name: link.pool for name, link in rig.gateway.gateway.links.items()} == pools

    run_rig(scenario, ScriptedBackend(None), front=picker())


@pytest.mark.parametrize("begun", [False, True])
def test_a_drain_says_that_it_cut_a_stream_off(run_rig: RunRig, begun: bool) -> None:
    """Whether its request was under way, or had yet to come in."""

    async def scenario(rig: Rig) -> None:
        server = rig.gateway._server
        async with picker_at(rig.gateway.port) as channel:
            stream = PickerStream(channel)
            await stream.begin()
            await rig.until(lambda: server.connections)
            if begun:
                await stream.complete()
                await stream.endpoint()
            assert not await server.drain(0.1)
            await rig.until(lambda: not server.connections)

    run_rig(scenario, ScriptedBackend(None), front=picker())


def test_a_drain_says_that_every_stream_came_to_its_end(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        server = rig.gateway._server
        async with picker_at(rig.gateway.port) as channel:
            stream = PickerStream(channel)
            await stream.begin()
            await rig.until(lambda: server.connections)
            draining = asyncio.ensure_future(server.drain(60.0))
            await rig.until(lambda: server.draining)
            await stream.complete(model="unknown")
            kind, said = await stream.read()
            assert (kind, said.immediate_response.status.code) == ("immediate_response", 404)
            await stream.call.done_writing()
            assert await draining

    run_rig(scenario, ScriptedBackend(None), front=picker())


def test_streams_beyond_the_limit_are_refused_and_health_checks_are_not(run_rig: RunRig) -> None:
    async def scenario(rig: Rig) -> None:
        server = rig.gateway._server
        async with picker_at(rig.gateway.port) as channel:
            open_ones = [PickerStream(channel) for _ in range(2)]
            for stream in open_ones:
                await stream.begin()
            await rig.until(lambda: server.connections == 2)
            assert await PickerStream(channel).call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await serving(channel)
            open_ones[0].call.cancel()
            await rig.until(lambda: server.connections == 1)
            another = PickerStream(channel)
            await another.begin()
            await another.complete()
            await another.endpoint()
            for stream in (open_ones[1], another):
                stream.call.cancel()

    run_rig(scenario, ScriptedBackend(None), limits=Limits(max_connections=2), front=picker())


def test_an_answer_that_waits_for_its_end_is_broken_off_when_it_is_too_large(
    run_rig: RunRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Envoy's own attempt brought a 503 without a body: the next one's answer can only be said as a whole."""
    monkeypatch.setattr("headrace.epp.exchange.MAX_WHOLE_BYTES", 100 * len(TOKENS[0]))

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE_HEAD + chunk(ROLE))
        while True:
            writer.write(chunk(TOKENS[0]))
            await writer.drain()
            await asyncio.sleep(0)

    async def scenario(rig: Rig) -> None:
        async with picker_at(rig.gateway.port) as channel:
            stream = PickerStream(channel)
            await stream.begin()
            await stream.complete(stream=True)
            await stream.endpoint()
            assert (await stream.read())[0] == "request_body"
            await stream.respond(503)
            assert await stream.call.code() is grpc.StatusCode.ABORTED
            await rig.until(lambda: not rig.gateway.gateway.requests_live)
        assert [each["status"] for each in rig.ledger.ended] == ["failed", "cancelled"]

    run_rig(scenario, ScriptedBackend(None), ScriptedBackend(endless), front=picker())


def changed(fleet: Fleet) -> Fleet:
    """The same backends, each with another limit."""
    pools = {
        name: replace(
            pool, backends=tuple(replace(each, max_in_flight=each.max_in_flight + 1) for each in pool.backends)
        )
        for name, pool in fleet.pools.items()
    }
    return replace(fleet, pools=pools)


async def reload(rig: Rig, path: Path, fleet: Fleet) -> None:
    """Take on another fleet, as if the fleet file said so."""
    path.write_text("another")
    found = fleet, load_policy(fleet.policy)
    file = FleetFile(path, "the first", lambda text: found, lambda text: None)
    reloader = Reloader(rig.gateway.gateway, file, Tokens(()), replaced=lambda: None, resumed=lambda fleet: [])
    await reloader.look()
    assert reloader.reloads == 1
