"""What one request costs the policy engine: all of its events together, at eight backends and more.

Arrived, FirstToken and Finished of coding, chat and agent requests, 64 of them in flight, with share control, latency
and length prediction on, and the timers that the engine asks for: the production engine, told again what a driver with
a virtual clock told one before. The yardstick of the same run is a dispatch table that
hands the same events to functions which do nothing. The ratio says what deciding costs beside being called; the
microseconds depend on the machine.

What it does not show: retries, queues, and the cost of the driver around it (gateway, simulator).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace import rng
from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.perf import speed_curve
from headrace.policy import AnyEvent, Arrived, Dispatch, Finished, FirstToken, PolicyEngine, SetTimer, TimerFired

TARGET_US = 25.0
STEP_S = 0.05  # between arrivals
ANSWER_S = 64 * STEP_S
KINDS = (Arrived, FirstToken, Finished, TimerFired)


def arrivals(count: int, seed: int) -> list[tuple[str, int, int]]:
    """(class, input tokens, output tokens) of each request, with lengths of a log-normal spread."""
    random = Random(seed)
    classes = ("coding", "chat", "agent")
    return [
        (random.choice(classes), int(random.lognormvariate(6.5, 1)) + 1, int(random.lognormvariate(5, 1)) + 8)
        for _ in range(count)
    ]


def day(fleet: Fleet, requests: list[tuple[str, int, int]], seed: int) -> list[tuple[float, AnyEvent]]:
    """What a driver with a virtual clock tells an engine of these requests, timers included, and when.

    A first token comes when the backend's own speed curve says so, give or take a fifth; a whole answer `ANSWER_S`
    after its request.
    """
    engine, random = PolicyEngine(fleet, rng.stream(0, "policy")), Random(seed)
    curves = {b.name: speed_curve(fleet.pools[b.pool].deployment) for b in fleet.backends}
    due: list[tuple[float, int, AnyEvent]] = [(i * STEP_S, i, Arrived(i, *r[:2])) for i, r in enumerate(requests)]
    made = len(due)
    told: list[tuple[float, AnyEvent]] = []
    while due and due[0][0] < len(requests) * STEP_S:
        now_s, _, event = heappop(due)
        told.append((now_s, event))
        for action in engine.handle(now_s, event):
            later: list[tuple[float, AnyEvent]] = []
            if type(action) is SetTimer:
                later = [(max(action.at_s, now_s), TimerFired(action.timer_id))]
            elif type(action) is Dispatch:
                attempt_id, (_, used_input, used_output) = action.attempt_id, requests[action.request_id]
                ttft_s = random.uniform(0.8, 1.2) * curves[action.backend].ttft_s(used_input)
                later = [(now_s + ttft_s, FirstToken(attempt_id))]
                later.append((max(now_s + ANSWER_S, later[0][0]), Finished(attempt_id, used_input, used_output)))
            for at_s, what in later:
                made += 1
                heappush(due, (at_s, made, what))
    return told


def engine_us(fleet: Fleet, told: list[tuple[float, AnyEvent]], requests: int) -> float:
    """CPU microseconds per request of an engine that is told the same again: it decides the same."""
    engine = PolicyEngine(fleet, rng.stream(0, "policy"))
    started_s = time.process_time()
    for now_s, event in told:
        engine.handle(now_s, event)
    return (time.process_time() - started_s) / requests * 1e6


def table_us(told: list[tuple[float, AnyEvent]], count: int) -> float:
    """CPU microseconds per request of a dispatch table whose functions do nothing."""
    handlers: dict[type, Callable[[float, AnyEvent], None]] = dict.fromkeys(KINDS, _nothing)
    started_s = time.process_time()
    for now_s, event in told:
        handlers[type(event)](now_s, event)
    return (time.process_time() - started_s) / count * 1e6


def _nothing(now_s: float, event: AnyEvent) -> None:
    """An event without a consequence."""


def main(requests: Annotated[int, typer.Option()] = 20_000, rounds: Annotated[int, typer.Option()] = 5) -> None:
    """Print the engine's CPU per request beside the yardstick's: the median of `rounds`."""
    fleet = load_fleet()
    traffic = arrivals(requests, seed=1)
    told = day(fleet, traffic, seed=2)
    engine, table = [], []
    for _ in range(rounds):
        engine.append(engine_us(fleet, told, requests))
        table.append(table_us(told, requests))
    shown = Table(title=f"policy engine, {len(fleet.backends)} backends (target {TARGET_US:.0f} us per request)")
    for column in ("CPU per request, us", "range", "x an empty dispatch table"):
        shown.add_column(column, justify="right")
    median_us = statistics.median(engine)
    ratio = median_us / statistics.median(table)
    shown.add_row(f"{median_us:.1f}", f"{min(engine):.1f} to {max(engine):.1f}", f"{ratio:.0f}")
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
