"""One scenario's system: every backend of the fleet emulated, and the production gateway in front of them."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from headrace import rng
from headrace.emulate import Emulator
from headrace.emulate.script import ScriptedCall, Step
from headrace.fleet import Backend, Fleet
from headrace.fleet.dialect_check import spoken_dialect
from headrace.gateway import RunningGateway, start_gateway
from headrace.http import ConnectionPool
from headrace.ledger import UsageLedger
from headrace.ledger.reader import Entry, read_ledger
from headrace.policy import PolicyEngine
from headrace.study.chaos.client import Reply, ask
from headrace.study.chaos.scenario import Place, Scenario
from headrace.study.up import with_urls
from headrace.wire import ApiName
from headrace.wire.dialects import COMPATIBLE
from headrace.wire.dialects.vllm import VLLM

TEXT = (
    "A headrace leads a share of a river onto the wheel: fast, and without losing a drop of it on its way there. " * 2
)
SAYS = (Step(text=TEXT, calls=(ScriptedCall("measure", {"what": "the river", "where": "above the weir"}),)),)
GUARD_S = 1.0
TIMEOUT_S = 15.0
SETTLE_S = 3.0
_NAME, _TEXT = "measure", {"type": "object", "properties": {"what": {"type": "string"}}}


def impatient(fleet: Fleet) -> Fleet:
    """The fleet, all of it emulated, with time guards so short that a scenario is over in seconds.

    Backends of which the fleet says no dialect speak vLLM's: it is what most of them run.
    """
    limits = replace(fleet.limits, first_byte_timeout_s=GUARD_S, answer_timeout_s=3 * GUARD_S, stall_timeout_s=GUARD_S)
    pools = {
        name: replace(pool, backends=tuple(replace(b, emulated=True, dialect=_dialect(b)) for b in pool.backends))
        for name, pool in fleet.pools.items()
    }
    return replace(fleet, pools=pools, limits=limits)


class Rig:
    """A running system, and who asks it."""

    def __init__(self, emulator: Emulator, running: RunningGateway, ledger: Path, model: str) -> None:
        self.emulator = emulator
        self._running = running
        self._ledger = ledger
        self._model = model
        self._pool = ConnectionPool(f"http://127.0.0.1:{running.port}")

    async def ask(self, api: ApiName, scenario: Scenario) -> Reply:
        """One request of the scenario."""
        body = request_body(api, self._model, scenario)
        leaves = scenario.leaves_after
        return await ask(self._pool, api, body, streamed=scenario.streamed, leaves_after=leaves, timeout_s=TIMEOUT_S)

    async def settled(self) -> bool:
        """Whether every request has ended, some time after the last was answered."""
        gateway = self._running.gateway
        for _ in range(int(SETTLE_S / 0.02)):
            await asyncio.sleep(0.02)  # and a round more, for what is written at its end
            if not gateway.requests_live and not gateway.attempts_live:
                return True
        return False

    def attempts(self) -> list[Entry]:
        """The ledger's entries."""
        return list(read_ledger(self._ledger))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._pool.close()


@asynccontextmanager
async def rig(fleet: Fleet, victim: str | None = None, place: Place | None = None) -> AsyncIterator[Rig]:
    """A system of its own; `victim` cannot be reached, for the reason that `place` gives."""
    emulator = Emulator(fleet)
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as folder:
        urls = await emulator.start(ephemeral=True)
        if victim is not None and place is not None:
            urls[victim] = _nowhere(place, urls[victim])
        emulator.say(SAYS)
        live = with_urls(fleet, urls)
        path = Path(folder) / "ledger.jsonl"
        with UsageLedger(path) as ledger:
            engine = PolicyEngine(live, rng.stream(0, "policy"))
            running = await start_gateway(live, engine, ledger, port=0, round_s=0.0)
            found = Rig(emulator, running, path, next(iter(fleet.models)))
            try:
                yield found
            finally:
                await found.close()
                await running.close(0.0)
                await emulator.stop()


def request_body(api: ApiName, model: str, scenario: Scenario) -> bytes:
    """What is asked, in the words of this API."""
    body: dict[str, Any] = {"model": model, "stream": scenario.streamed}
    said = [{"role": "user", "content": "What is a headrace?"}]
    if api == "responses":
        body |= {"input": said, "max_output_tokens": 1000}
    elif api == "completions":
        body |= {"prompt": "A headrace is", "max_tokens": 1000}
    else:
        body |= {"messages": said, "max_tokens": 1000}
    if scenario.calls:
        body["tools"] = [_tool(api)]
    if scenario.streamed and api in ("chat", "completions"):
        body["stream_options"] = {"include_usage": True}
    return json.dumps(body).encode()


def _dialect(backend: Backend) -> str:
    return VLLM.name if spoken_dialect(backend) is COMPATIBLE else backend.dialect


def _tool(api: ApiName) -> dict[str, Any]:
    if api == "messages":
        return {"name": _NAME, "input_schema": _TEXT}
    function = {"name": _NAME, "parameters": _TEXT}
    return {"type": "function", **function} if api == "responses" else {"type": "function", "function": function}


def _nowhere(place: Place, url: str) -> str:
    match place:
        case Place.CLOSED_PORT:
            return "http://127.0.0.1:1"
        case Place.NO_SUCH_HOST:
            return "http://nowhere.invalid:80"
        case Place.NO_TLS:
            return url.replace("http://", "https://", 1)
