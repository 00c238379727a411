"""Running scenarios: each in a system of its own, so that none of them sees what another one broke."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from headrace.fleet import Fleet
from headrace.fleet.dialect_check import spoken_dialect
from headrace.study.chaos.client import Reply
from headrace.study.chaos.judge import end_of, faults_of
from headrace.study.chaos.rig import Rig, impatient, rig
from headrace.study.chaos.scenario import Scenario
from headrace.wire import ApiName
from headrace.wire.dialects import Continuation

LOST_AFTER_S = 0.25


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one scenario.

    Attributes:
        ends: how its requests ended, as words.
        attempts: made for all of them, by the ledger.
        faults: what a correct system would not have shown; empty: it is correct.
    """

    scenario: str
    api: ApiName
    ends: str
    attempts: int
    seconds: float
    faults: tuple[str, ...]


async def run_scenarios(
    fleet: Fleet, scenarios: Iterable[Scenario], apis: Iterable[ApiName], on_verdict: Callable[[Verdict], None]
) -> list[Verdict]:
    """Run every scenario in every API, and tell of each as it is judged."""
    emulated, found = impatient(fleet), []
    for api in apis:
        for scenario in scenarios:
            if scenario.calls and api == "completions":
                continue  # it has no tools
            verdict = await run_scenario(emulated, scenario, api)
            on_verdict(verdict)
            found.append(verdict)
    return found


async def run_scenario(fleet: Fleet, scenario: Scenario, api: ApiName) -> Verdict:
    """Run one scenario; `fleet` is as `impatient` makes it."""
    calm = replace(scenario, leaves_after=None)
    async with rig(fleet) as quiet:
        reference = await quiet.ask(api, calm)
        (first,) = quiet.attempts()
    started_s = time.monotonic()
    async with rig(fleet, first.backend, scenario.place) as live:
        live.emulator.trouble(scenario.troubles)
        replies = await _asked(live, fleet, scenario, api)
        settled = await live.settled()
        attempts = live.attempts()
    faults = faults_of(scenario, replies, reference, attempts, can_go_on=_can_go_on(fleet, first.backend))
    if not settled:
        faults.append("requests that have not ended")
    ends = ", ".join(sorted({end_of(reply, scenario).value for reply in replies}))
    return Verdict(scenario.name, api, ends, len(attempts), time.monotonic() - started_s, tuple(faults))


async def _asked(live: Rig, fleet: Fleet, scenario: Scenario, api: ApiName) -> list[Reply]:
    if not scenario.at_once:
        return [await live.ask(api, scenario) for _ in range(scenario.requests)]
    asking = [asyncio.create_task(live.ask(api, scenario)) for _ in range(scenario.requests)]
    if scenario.lost_pool:
        await asyncio.sleep(LOST_AFTER_S)
        await _lose_a_pool(live, fleet)
    return list(await asyncio.gather(*asking))


async def _lose_a_pool(live: Rig, fleet: Fleet) -> None:
    """The pool that most attempts are at is lost."""
    of = {backend.name: backend.pool for backend in fleet.backends}
    pools = [of[entry.backend] for entry in live.attempts()]
    lost = max(fleet.pools, key=pools.count)
    for backend in fleet.pools[lost].backends:
        await live.emulator.lose(backend.name)


def _can_go_on(fleet: Fleet, first: str) -> bool:
    """Whether a backend beside the first can be given the beginning of an answer."""
    others = (backend for backend in fleet.backends if backend.name != first)
    return any(spoken_dialect(backend).continuation is not Continuation.NONE for backend in others)
