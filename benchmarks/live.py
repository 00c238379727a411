"""Does the simulator say what the live system does? The same traffic through both, the same policy code in both.

    make bench-live         (or: python benchmarks/live.py --loads 0.6 --repeats 1 --seconds 120)

Live: `headrace emulate` (the model servers in real time behind real ports), `headrace serve` (the gateway) and
`headrace replay` (the clients), three processes and loopback sockets. Simulated: `headrace simulate` with the same
fleet, trace and seed. What differs between them is everything that the simulator leaves out: sockets, event loops,
timers, two cores for all of it. TTFT and TPOT are compared per class at p50, p90 and p99.

The mark is 5 % at p50, 10 % at p90 and 15 % at p99; a p99 of the live system is itself uncertain, so its spread between
repeats of the same trace is printed beside it. Traffic is generated (lengths of coding and chat, half each, at a
wandering Poisson rate) and scaled, by its arrival times alone, to a part of full load: 40 requests/s, or 6,000 output
tokens/s if that comes first.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any
from urllib.error import URLError
from urllib.request import urlopen

import typer
from rich.console import Console
from rich.table import Table

from headrace.workload import CHAT, CODING, ClassTraffic, Request, generate

FLEET = Path(__file__).resolve().parent.parent / "examples" / "small.toml"
FULL_REQUESTS_PER_S, FULL_TOKENS_PER_S = 40.0, 6000.0
FIGURES = ("ttft_s", "tpot_s")
MARKS = {"p50": 0.05, "p90": 0.10, "p99": 0.15}
# Coding in its own bursts, eight times as fast, would measure the queues of an overloaded fleet.
TRAFFIC = (("coding", replace(CODING, arrivals=CHAT.arrivals)), ("chat", CHAT))
PORT, ADMIN_PORT = 18290, 18291

console = Console()
Latency = dict[tuple[str, str, str], float]  # class, figure, quantile -> seconds


def main(
    loads: Annotated[str, typer.Option(help="Parts of full load, comma-separated.")] = "0.3,0.6,0.9",
    repeats: Annotated[int, typer.Option(help="Live runs of each trace.")] = 3,
    seconds: Annotated[float, typer.Option(help="Length of a run.")] = 600.0,
    seed: Annotated[int, typer.Option(help="Of the traffic.")] = 0,
) -> None:
    """Print simulated over live, per class, figure and quantile, and what of it is within the marks."""
    for load in map(float, loads.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            traces = write_traces(work, scaled(seconds, load, seed))
            simulated = latency(headrace_json(work, "simulate", str(FLEET), *traces))
            live = [latency(run_live(work, traces)) for _ in range(repeats)]
        show(load, simulated, live)


def scaled(seconds: float, load: float, seed: int) -> list[Request]:
    """Half coding, half chat, for `seconds`, at `load` of full load on average."""
    drawn = [
        list(islice(generate([ClassTraffic(name, traffic, 1.0)], 1e6, seed), round(FULL_REQUESTS_PER_S * seconds)))
        for name, traffic in TRAFFIC
    ]
    tokens = statistics.mean(each.output_tokens for some in drawn for each in some)
    per_class_s = load * min(FULL_REQUESTS_PER_S, FULL_TOKENS_PER_S / tokens) / 2
    requests = []
    for some in drawn:
        kept = some[: round(per_class_s * seconds)]
        stretch = seconds / kept[-1].arrival_s
        requests += [(each.arrival_s * stretch, each) for each in kept]
    return [
        Request(at_s, each.workload_class, each.input_tokens, each.output_tokens)
        for at_s, each in sorted(requests, key=lambda pair: pair[0])
    ]


def write_traces(work: Path, requests: Sequence[Request]) -> list[str]:
    """A file per class, and the options that name them."""
    start, options = datetime(2026, 1, 1), []
    for name in ("coding", "chat"):
        lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
        for each in requests:
            if each.workload_class == name:
                stamp = (start + timedelta(seconds=each.arrival_s)).strftime("%Y-%m-%d %H:%M:%S.%f")
                lines.append(f"{stamp},{each.input_tokens},{each.output_tokens}")
        (work / f"{name}.csv").write_text("\n".join(lines) + "\n")
        options += ["--trace", f"{name}={name}.csv"]
    return options


def run_live(work: Path, traces: Sequence[str]) -> Any:
    """One run through sockets: emulator and gateway are started and stopped for it."""
    serve = ("serve", str(FLEET), "--port", str(PORT), "--admin-port", str(ADMIN_PORT), "--ledger", "ledger.jsonl")
    (work / "ledger.jsonl").unlink(missing_ok=True)
    with running(work, "emulate", str(FLEET)), running(work, *serve):
        await_port(ADMIN_PORT)
        return headrace_json(work, "replay", f"http://127.0.0.1:{PORT}", str(FLEET), *traces)


@contextmanager
def running(work: Path, *arguments: str) -> Iterator[None]:
    """A headrace process until the block ends; SIGINT, so that it drains."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.cli", *arguments],
        cwd=work,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def await_port(port: int) -> None:
    for _ in range(300):
        try:
            with urlopen(f"http://127.0.0.1:{port}/admin/state", timeout=1):
                time.sleep(0.5)
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise SystemExit("the gateway did not start")


def headrace_json(work: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "headrace.cli", *arguments, "--json", "-"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def latency(report: Any) -> Latency:
    return {
        (name, figure, quantile): found[figure][quantile]
        for name, found in report["classes"].items()
        for figure in FIGURES
        for quantile in MARKS
    }


def show(load: float, simulated: Latency, live: Sequence[Latency]) -> None:
    table = Table(title=f"{load:.0%} of full load, {len(live)} live runs; load average {os.getloadavg()[0]:.1f}")
    for head in ("class", "figure", "", "simulated, ms", "live, ms", "spread of live", "simulated / live", "mark"):
        table.add_column(head, justify="right" if head not in ("class", "figure") else "left")
    held = 0
    for key, predicted in simulated.items():
        runs = [each[key] for each in live]
        measured = statistics.median(runs)
        spread = (max(runs) - min(runs)) / measured
        off = abs(predicted / measured - 1.0)
        within = off <= max(MARKS[key[2]], spread if key[2] == "p99" else 0.0)
        held += within
        figures = (f"{predicted * 1e3:.1f}", f"{measured * 1e3:.1f}", f"{spread:.1%}", f"{predicted / measured:.3f}")
        table.add_row(key[0], key[1].removesuffix("_s").upper(), key[2], *figures, "yes" if within else "no")
    console.print(table)
    console.print(f"{held} of {len(simulated)} within the marks")


if __name__ == "__main__":
    typer.run(main)
