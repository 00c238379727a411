"""`headrace check --live` finds which claims of a dialect hold at a backend."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from headrace.bench.live_check import LiveClaim, live_claims, shape_of
from headrace.cli.live import check_live
from headrace.config import load_fleet
from headrace.emulate import Emulator
from headrace.errors import BackendError, ConfigError
from headrace.fleet import Backend, Fleet, OperatingPoint
from headrace.wire.dialects import DIALECTS, ErrorShape
from headrace.wire.dialects.render import render_error

MODEL = "gpt-oss-120b"
BACKEND = "cerebras-1"


def fleet_of(**settings: Any) -> Fleet:
    fleet = load_fleet()
    pool = next(pool for pool in fleet.pools.values() if pool.backends[0].name == BACKEND)
    service = replace(pool.deployment, accelerator=None, observed=OperatingPoint(0.001, 1e6, 0.0001))
    backend = replace(pool.backends[0], **settings)
    return replace(fleet, pools={pool.name: replace(pool, deployment=service, backends=(backend,))})


def tried(served: str, claimed: str, model: str = MODEL) -> dict[str, LiveClaim]:
    """The claims of one dialect, tried at a backend that speaks another, or the same."""

    async def run() -> list[LiveClaim]:
        emulator = Emulator(fleet_of(dialect=served))
        urls = await emulator.start(ephemeral=True)
        backend = Backend("b", "p", urls[BACKEND], dialect=claimed, emulated=True)
        try:
            return await live_claims(backend, model)
        finally:
            await emulator.stop()

    return {claim.claim: claim for claim in asyncio.run(run())}


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "vertex"])
def test_a_backend_that_speaks_its_dialect_breaks_no_claim(name: str) -> None:
    claims = tried(name, name)
    assert [claim for claim in claims.values() if claim.holds is False] == []
    assert claims["error body"].holds
    assert claims["catalogue"].holds


def test_what_groq_refuses_is_confirmed() -> None:
    claims = tried("groq", "groq")
    assert all(claims[name].holds for name in ("n", "logprobs", "logit_bias", "usage of a stream"))
    assert claims["service_tier"].holds is None, "taken, or ignored in silence"


def test_a_wrong_dialect_is_found_out() -> None:
    claims = tried("groq", "cerebras")
    broken = {name for name, claim in claims.items() if claim.holds is False}
    assert broken == {"usage of a stream", "error body", "completions API"}
    assert claims["error body"].found == "wrapped"


def test_a_backend_that_does_not_answer_says_why() -> None:
    with pytest.raises(BackendError, match="model_not_found"):
        tried("vllm", "vllm", model="another")


def test_a_backend_that_the_fleet_does_not_have_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cerebras-1'"):
        check_live(fleet_of(), "cerebras-2", None)


@pytest.mark.parametrize("name", [name for name, dialect in DIALECTS.items() if dialect.errors])
def test_the_shape_of_every_declared_error_is_recognised(name: str) -> None:
    dialect = DIALECTS[name]
    assert {shape_of(render_error(dialect, row)) for row in dialect.errors} == {dialect.error_shape}
    assert shape_of(b"<html>") is None
    assert shape_of(b'{"error":"text"}') is None
    assert dialect.error_shape in ErrorShape
