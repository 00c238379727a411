"""Where a simulated request's work goes: bytecodes and calls of each module, counted, not timed.

Counts are the same on every machine and in every run, so they show what a change saved where clocks are too noisy to.
difference of two lengths is taken: what a run costs once (reading coefficients, building curves) drops out.

What it does not show: time. Bytecodes differ in cost, and what runs inside C (heaps, numpy) is not counted.
"""

from __future__ import annotations

import sys
from collections import Counter
from itertools import islice
from types import CodeType, FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from headrace.config import load_fleet
from headrace.fleet import Fleet
from headrace.sim import simulate
from headrace.workload import AGENT, CHAT, CODING, ClassTraffic, generate

TRAFFIC = {"coding": CODING, "chat": CHAT, "agent": AGENT}


def counted(fleet: Fleet, requests: int) -> tuple[Counter[str], Counter[str]]:
    """(bytecodes, calls) by module of a simulation of so many requests."""
    opcodes: Counter[CodeType] = Counter()
    calls: Counter[CodeType] = Counter()

    def inside(frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            opcodes[frame.f_code] += 1
        return inside

    def called(frame: FrameType, event: str, _: Any) -> Any:
        calls[frame.f_code] += 1
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return inside

    classes = [ClassTraffic(name, TRAFFIC[name]) for name in fleet.classes]
    traffic = list(islice(generate(classes, float("inf"), 0), requests))
    sys.settrace(called)
    simulate(fleet, iter(traffic), seed=0)
    sys.settrace(None)
    return _by_module(opcodes), _by_module(calls)


def _by_module(counts: Counter[CodeType]) -> Counter[str]:
    modules: Counter[str] = Counter()
    for code, count in counts.items():
        modules[code.co_filename.rpartition("headrace/")[2]] += count
    return modules


def main(requests: Annotated[int, typer.Option(help="Requests counted.")] = 1000) -> None:
    """Print bytecodes and calls per simulated request, by module, the largest first."""
    fleet = load_fleet()
    (short, short_calls), (long, long_calls) = counted(fleet, requests // 2), counted(fleet, requests // 2 + requests)
    per_request = {name: (count - short[name]) / requests for name, count in long.items()}
    total = sum(per_request.values())
    table = Table(title=f"one simulated request: {total:,.0f} bytecodes, {len(fleet.backends)} backends")
    for column in ("module", "bytecodes", "%", "calls"):
        table.add_column(column, justify="left" if column == "module" else "right")
    for name, opcodes in sorted(per_request.items(), key=lambda item: -item[1]):
        if opcodes >= 1.0:
            calls = (long_calls[name] - short_calls[name]) / requests
            table.add_row(name, f"{opcodes:.0f}", f"{100 * opcodes / total:.1f}", f"{calls:.1f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
