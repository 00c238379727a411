"""What one request costs the policy engine: all of its events together, at eight backends and more.

Arrived, FirstToken and Finished of coding, chat and agent requests, 64 of them in flight, with share control, latency
and length prediction on: the production engine and no driver. The yardstick of the same run is a dispatch table that
hands the same events to functions which do nothing. The ratio says what deciding costs beside being called; the
microseconds depend on the machine.

What it does not show: retries, queues, and the cost of the driver around it (gateway, simulator).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from random import Random
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace import rng
from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.policy import AnyEvent, Arrived, Dispatch, Finished, FirstToken, PolicyEngine

TARGET_US = 25.0
IN_FLIGHT = 64
FIRST_TOKEN_AFTER = 20  # arrivals
STEP_S = 0.05


def arrivals(count: int, seed: int) -> list[tuple[str, int, int]]:
    """(class, input tokens, output tokens) of each request, with lengths of a log-normal spread."""
    random = Random(seed)
    classes = ("coding", "chat", "agent")
    return [
        (random.choice(classes), int(random.lognormvariate(6.5, 1)) + 1, int(random.lognormvariate(5, 1)) + 8)
        for _ in range(count)
    ]


def engine_us(fleet: Fleet, requests: list[tuple[str, int, int]]) -> tuple[float, list[AnyEvent]]:
    """CPU microseconds per request, and the events that it was given."""
    engine = PolicyEngine(fleet, rng.stream(0, "policy"))
    given: list[AnyEvent] = []
    attempts: list[int] = []
    started_s = time.process_time()
    for i, (name, input_tokens, _) in enumerate(requests):
        events: list[AnyEvent] = [Arrived(i, name, input_tokens)]
        if i >= FIRST_TOKEN_AFTER:
            events.append(FirstToken(attempts[i - FIRST_TOKEN_AFTER]))
        if i >= IN_FLIGHT:
            _, used_input, used_output = requests[i - IN_FLIGHT]
            events.append(Finished(attempts[i - IN_FLIGHT], used_input, used_output))
        for event in events:
            for action in engine.handle(i * STEP_S, event):
                if type(action) is Dispatch:
                    attempts.append(action.attempt_id)
        given += events
    return (time.process_time() - started_s) / len(requests) * 1e6, given


def table_us(events: list[AnyEvent], count: int) -> float:
    """CPU microseconds per request of a dispatch table whose functions do nothing."""
    handlers: dict[type, Callable[[float, AnyEvent], None]] = dict.fromkeys((Arrived, FirstToken, Finished), _nothing)
    started_s = time.process_time()
    for event in events:
        handlers[type(event)](0.0, event)
    return (time.process_time() - started_s) / count * 1e6


def _nothing(now_s: float, event: AnyEvent) -> None:
    """An event without a consequence."""


def main(requests: Annotated[int, typer.Option()] = 20_000, rounds: Annotated[int, typer.Option()] = 5) -> None:
    """Print the engine's CPU per request beside the yardstick's: the median of `rounds`."""
    fleet = load_fleet()
    traffic = arrivals(requests, seed=1)
    engine, table = [], []
    for _ in range(rounds):
        found_us, events = engine_us(fleet, traffic)
        engine.append(found_us)
        table.append(table_us(events, requests))
    shown = Table(title=f"policy engine, {len(fleet.backends)} backends (target {TARGET_US:.0f} us per request)")
    for column in ("CPU per request, us", "range", "x an empty dispatch table"):
        shown.add_column(column, justify="right")
    median_us = statistics.median(engine)
    ratio = median_us / statistics.median(table)
    shown.add_row(f"{median_us:.1f}", f"{min(engine):.1f} to {max(engine):.1f}", f"{ratio:.0f}")
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
