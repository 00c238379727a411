"""An answer that stops coming, or crawls, is gone on with by another backend."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from gateway_rig import Rig, RunRig
from rescue_rig import (
    PATIENT,
    READERS,
    TEXT,
    Broken,
    ScriptedModel,
    add_dialects,
    backends,
    question,
    real_engine,
    stream_of,
)

from headrace.fleet import Limits
from headrace.gateway.pace import WINDOW_S, Pace
from headrace.wire.dialects import Continuation


class Silent(ScriptedModel):
    """Says no more after its first words, and keeps its connection open."""

    async def _answer(self, api: Any, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        await super()._answer(api, body, writer)
        return True


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    ("limits", "kind"),
    [(replace(PATIENT, stall_timeout_s=5.0), "stalled"), (replace(PATIENT, min_tokens_per_s=1.0), "slow")],
)
def test_a_guard_moves_an_answer(
    run_rig: RunRig, monkeypatch: pytest.MonkeyPatch, limits: Limits, kind: str, api: Any
) -> None:
    add_dialects(monkeypatch)
    model = Silent()

    async def scenario(rig: Rig) -> None:
        model.breaks(Broken(stream_of("chat").index(b"so "), []))
        asked = asyncio.ensure_future(rig.ask(question(api)))
        gateway = rig.gateway.gateway
        await rig.until(lambda: any(attempt.committed for attempt in gateway._attempts.values()))
        for _ in range(8):
            gateway.sweep(1.0)
        _, _, stream, complete = await asked
        assert complete
        assert READERS[api](stream).text == TEXT
        assert [count for (_, outcome), count in gateway.telemetry.counters.attempts.items() if outcome == kind] == [1]

    settings = backends(("chat",), Continuation.TRAILING_ASSISTANT)
    run_rig(scenario, model, model, settings=settings, limits=limits, engine_for=real_engine)


def test_pace_is_judged_by_whole_windows() -> None:
    pace = Pace(100)
    assert not any(pace.below(10.0, 100, 1.0) for _ in range(4)), "the window has not passed"
    assert not pace.below(10.0, 150, WINDOW_S - 4.0)
    assert pace.below(10.0, 199, WINDOW_S)
    assert not pace.below(10.0, 249, WINDOW_S)
