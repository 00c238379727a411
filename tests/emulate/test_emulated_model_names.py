"""An emulated backend answers to its own name of the model in every API, and to no other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import uvloop
from dialect_rig import BACKEND, MODEL, Reply, ask, fleet_of

from headrace.emulate import Emulator

THEIRS = "maker/it"
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/embeddings": {"input": "hi"},
}


def asked(path: str, model: str, dialect: str) -> Reply:
    async def run() -> Reply:
        fleet = fleet_of(dialect)
        (pool,) = fleet.pools.values()
        named = replace(pool, backends=tuple(replace(each, served_model_name=THEIRS) for each in pool.backends))
        emulator = Emulator(replace(fleet, pools={pool.name: named}))
        urls = await emulator.start(ephemeral=True)
        try:
            port = int(urls[BACKEND].rpartition(":")[2])
            return await asyncio.wait_for(ask(port, path, {"model": model, **BODIES[path]}), 20)
        finally:
            await emulator.stop()

    return uvloop.run(run())


@pytest.mark.parametrize("path", BODIES)
def test_it_answers_to_its_own_name_alone(path: str) -> None:
    dialect = "vllm" if "messages" in path else "openai-compatible"
    own, fleets = asked(path, THEIRS, dialect), asked(path, MODEL, dialect)
    assert (own.status, fleets.status) == (200, 404), (own.body, fleets.body)
    assert own.json.get("model") in (THEIRS, None)
    assert THEIRS in fleets.json["error"]["message"]
