"""The policy is told where prompts begin alike, wherever something in the fleet keeps what they have in common."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import emulated_rig
import pytest
from emulated_rig import Ask, through

from headrace.fleet import Pool
from headrace.policy import PolicyEngine

pytestmark = pytest.mark.usefixtures("backends_of_one_api")
LONG = "once upon a time " * 1000
EXPLAIN = "x-headrace-explain: 1\r\n"


@pytest.fixture(params=[None, 300.0])
def cache_ttl_s(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float | None:
    """Backends that find prefixes for so long; None: they keep nothing."""
    plain = emulated_rig.one_pool

    def caching(*given: Any) -> Pool:
        made = plain(*given)
        assert made.deployment.observed is not None
        observed = replace(made.deployment.observed, cache_ttl_s=request.param)
        return replace(made, deployment=replace(made.deployment, observed=observed))

    monkeypatch.setattr(emulated_rig, "one_pool", caching)
    return request.param


def test_a_longer_version_of_a_prompt_is_expected_to_find_it_where_it_went(cache_ttl_s: float | None) -> None:
    async def scenario(ask: Ask, engine: PolicyEngine) -> None:
        first = {"messages": [{"role": "user", "content": LONG}]}
        second = {"messages": [*first["messages"], {"role": "user", "content": "and then?"}]}
        _, answered, _, _ = await ask(**first)
        place = answered[b"x-headrace-backend"].decode()
        _, answered, _, _ = await ask(headers=EXPLAIN, **second)
        cached = {row["backend"]: row["cached_tokens"] for row in json.loads(answered[b"x-headrace-explain"])}
        other = {"messages": [{"role": "user", "content": "another tale " + LONG}]}
        _, answered, _, _ = await ask(headers=EXPLAIN, **other)
        unknown = {row["backend"]: row["cached_tokens"] for row in json.loads(answered[b"x-headrace-explain"])}
        assert set(unknown.values()) == {0.0}, "it begins otherwise"
        assert (cached.pop(place) > 3000) == (cache_ttl_s is not None)
        assert set(cached.values()) == {0.0}, "only there"

    through(scenario, "only-chat", "only-messages")
