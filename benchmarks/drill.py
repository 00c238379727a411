"""What long drills share: processes to start, clients that believe nothing, and what a process holds.

Traffic comes open loop at a rate that may follow a curve, in all four APIs, most of it streamed. Every answer is read
to its end and compared with the one text that the emulated models say, so that a text that is repeated, lost or cut
off is seen, and so is an answer that is cut off and looks whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from rich.console import Console

from headrace.cost import share_rates
from headrace.fleet import Fleet
from headrace.http import ConnectionPool, PoolLimits
from headrace.ledger.reader import Entry
from headrace.metrics import AttemptRecord, ShareMeter, WindowVerdict
from headrace.metrics.usage import AttemptStatus
from headrace.study.chaos.client import Reply, ask
from headrace.study.chaos.rig import request_body
from headrace.study.chaos.scenario import Scenario

FLEET = Path(__file__).resolve().parent.parent / "examples" / "small.toml"
GPUS, GROQ = ("gpu-1", "gpu-2", "gpu-3", "gpu-4", "gpu-5"), "groq-1"
PORTS = {**{name: 18201 + k for k, name in enumerate(GPUS)}, GROQ: 18211}
GUARDS = """
[limits]
first_byte_timeout_s = 5.0
stall_timeout_s = 3.0
"""
TEXT = "One answer, said by every emulated model, so that whoever reads it knows if a word of it is missing. " * 3
SCRIPT = json.dumps([{"text": TEXT}]).encode()
APIS = ("chat", "responses", "messages", "completions")
STREAMED, WHOLE = Scenario(name="streamed"), Scenario(name="whole", streamed=False)
TIMEOUT_S = 90.0


class Tally:
    """How requests ended, for their clients."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.broken: list[str] = []
        self._start_s = time.monotonic()
        self.seconds: dict[str, list[float]] = {}
        self.ttft_s: dict[str, list[float]] = {}
        self.sent = 0

    @property
    def ended(self) -> int:
        """Requests of which the client knows the end."""
        return self.ends.total()

    def add(self, reply: Reply, kind: str, took_s: float) -> None:
        """Judge one reply."""
        if reply.whole and reply.text == TEXT and not reply.faults():
            self.ends["answered"] += 1
            workload_class = kind.partition(",")[0]
            self.seconds.setdefault(workload_class, []).append(took_s)
            if reply.ttft_s is not None and not kind.endswith("whole"):
                self.ttft_s.setdefault(workload_class, []).append(reply.ttft_s)
        elif reply.whole:
            self.ends["WRONG"] += 1
            self.wrong.append(f"{kind}: {len(reply.text)} of {len(TEXT)} characters, {reply.faults()}")
        elif reply.status is not None and reply.status >= 400:
            said_when = "" if b"retry-after" in reply.headers else " without retry-after"
            self.ends[f"refused {reply.status}{said_when}"] += 1
        elif reply.proper and reply.status == 200:
            self.ends["POLITE"] += 1
            self.wrong.append(f"{kind}: a part of an answer, ended in good order")
        else:
            self.ends["broken"] += 1
            at_s = time.monotonic() - self._start_s
            self.broken.append(f"{at_s:6.1f} s {kind}: HTTP {reply.status}, {len(reply.text)} characters")


async def traffic(
    port: int,
    rate_per_s: Callable[[float], float],
    seconds: float,
    tally: Tally,
    seed: int = 0,
    classes: tuple[str, ...] = ("coding", "chat"),
) -> None:
    """Ask at the rate of each moment for so long, and wait until all has ended."""
    draw = random.Random(seed)
    pool = ConnectionPool(f"http://127.0.0.1:{port}", PoolLimits(max_connections=4096))
    started_s = time.monotonic()
    asking: set[asyncio.Task[None]] = set()
    due_s = 0.0
    while due_s < seconds:
        due_s += draw.expovariate(max(rate_per_s(due_s), 1e-3))
        await asyncio.sleep(max(started_s + due_s - time.monotonic(), 0.0))
        task = asyncio.create_task(_one(pool, draw, tally, classes))
        asking.add(task)
        task.add_done_callback(asking.discard)
    if asking:
        await asyncio.wait(asking)
    await pool.close()


async def _one(pool: ConnectionPool, draw: random.Random, tally: Tally, classes: tuple[str, ...]) -> None:
    api: Any = draw.choice(APIS)
    scenario = STREAMED if draw.random() < 0.85 else WHOLE
    workload_class = draw.choice(classes)
    body = json.loads(request_body(api, "llama-3.1-8b", scenario))
    body["headrace"] = {"class": workload_class}
    tally.sent += 1
    started_s = time.monotonic()
    reply = await ask(
        pool, api, json.dumps(body).encode(), streamed=scenario.streamed, leaves_after=None, timeout_s=TIMEOUT_S
    )
    kind = f"{workload_class}, {api}{'' if scenario.streamed else ', whole'}"
    tally.add(reply, kind, time.monotonic() - started_s)


def fleet_file(work: Path, more: str = "") -> Path:
    """The small fleet with backends that speak as theirs do and guards of seconds; `more`: tables that it has not."""
    gpus, pools_groq, rest = FLEET.read_text().partition("[pools.groq]")
    says = 'emulated = true\ndialect = "{}"'
    text = gpus.replace("emulated = true", says.format("vllm"))
    text += pools_groq + rest.replace("emulated = true", says.format("groq"))
    path = work / "fleet.toml"
    path.write_text(text + GUARDS + more)
    return path


@contextmanager
def headrace(*arguments: object, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A headrace process; it is asked to end at the end."""
    process = start(*arguments, log=log)
    try:
        yield process
    finally:
        stop(process)


def start(*arguments: object, log: Path) -> subprocess.Popen[bytes]:
    """Start `headrace ...`; what it says goes to `log`."""
    command = [sys.executable, "-m", "headrace.cli", *map(str, arguments)]
    with log.open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=out)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and see to it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def get(port: int, path: str) -> bytes:
    """What a port of this machine answers; raises OSError."""
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return bytes(answer.read())


def post(port: int, path: str, body: bytes) -> None:
    """Say something to a port of this machine."""
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", data=body, method="POST"), timeout=5):
        pass


def await_port(port: int, path: str = "/health", seconds: float = 30.0) -> None:
    """Wait until a port answers."""
    deadline_s = time.monotonic() + seconds
    while True:
        try:
            get(port, path)
            return
        except (URLError, OSError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


def tree(pid: int) -> list[int]:
    """A process and its children."""
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        try:
            for task in os.listdir(f"/proc/{each}/task"):
                waiting += map(int, Path(f"/proc/{each}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def holds(pid: int) -> tuple[float, int]:
    """MB of memory in use and open file descriptors, of a process and its children."""
    rss_kb = descriptors = 0
    for each in tree(pid):
        try:
            status = Path(f"/proc/{each}/status").read_text()
            rss_kb += int(status.partition("VmRSS:")[2].split()[0])
            descriptors += len(os.listdir(f"/proc/{each}/fd"))
        except (OSError, IndexError, ValueError):
            continue
    return rss_kb / 1024, descriptors


def redis_server(work: Path, port: int) -> subprocess.Popen[bytes]:
    """A Redis that keeps nothing."""
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=work)


def show_share(console: Console, fleet: Fleet, entries: Iterable[Entry], gone: Callable[[float], bool]) -> None:
    """How far from its target the share `fast` was, as a whole and by windows, judged by ledgers alone.

    Args:
        gone: whether the share's pools were gone at that time (Unix).
    """
    share = fleet.shares["fast"]
    verdicts: list[WindowVerdict] = []
    meter = ShareMeter(share.pools, share_rates(fleet, share), share.target, on_window=verdicts.append)
    timed = [(e.started_unix_s + e.at_s, e) for e in entries if e.started_unix_s is not None]
    timed.sort(key=lambda one: one[0])
    first_s, last_s = timed[0][0], timed[-1][0]
    pools = {backend.name: backend.pool for backend in fleet.backends}
    for at_s, entry in timed:
        down = share.pools if gone(at_s) else ()
        up = tuple(name for name in fleet.pools if name not in down)
        read = entry.input_tokens if entry.output_low or entry.status is AttemptStatus.COMPLETED else 0
        sizes = (read, entry.output_low, 0.0)
        pool, at_s = pools[entry.backend], at_s - first_s
        meter.book(AttemptRecord(pool, at_s, at_s, *sizes, up, down_pools=tuple(down)))
    meter.close(last_s - first_s)
    feasible = [each for each in verdicts if each.infeasible is None]
    missed = [f"{v.start_s:.0f} s: {100 * v.realized:.2f} %" for v in feasible if v.error_pp > 0.5]
    worst = max((each.error_pp for each in feasible), default=0.0)
    why = Counter(str(each.infeasible.reason) for each in verdicts if each.infeasible is not None)
    console.print(f"share: {100 * (meter.realized or 0.0):.2f} %, target {100 * share.target:.2f} %;")
    console.print(f"{len(verdicts)} windows, infeasible {dict(why)}; {len(feasible)} feasible, of which")
    console.print(f"the worst is {worst:.2f} points off; beyond half a point: {', '.join(missed) or 'none'}")


def show_ends(console: Console, tally: Tally) -> None:
    """How requests ended, and how long they took."""
    console.print(f"{tally.sent} sent, {tally.sent - tally.ended} without an end: {dict(sorted(tally.ends.items()))}")
    for line in tally.wrong[:10]:
        console.print(f"[red]{line}[/]")
    for line in tally.broken[:40]:
        console.print(f"broken at {line}")
    for kind, seconds in tally.seconds.items():
        ttft_s = tally.ttft_s.get(kind, [])
        figures = (*(quantile(ttft_s, level) for level in (0.5, 0.99)), *(quantile(seconds, q) for q in (0.5, 0.99)))
        console.print("{}: TTFT p50 {:.3f} s, p99 {:.3f} s; E2E p50 {:.2f} s, p99 {:.2f} s".format(kind, *figures))


def quantile(values: list[float], level: float) -> float:
    """Of values that need not be in order; nan of none."""
    ordered = sorted(values)
    return ordered[min(int(level * len(ordered)), len(ordered) - 1)] if ordered else float("nan")
