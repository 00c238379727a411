"""429s of a provider whose quota is nearly used up: with quotas reserved before a request is sent, and without.

    python benchmarks/quota.py        (--no-live: simulated only; --seconds 60: of each run)

One service with Cerebras's way of counting (the ceiling on output is taken at admission) and with Groq's (output is
taken when it was made), 60,000 tokens per minute refilled evenly, requests with a ceiling of 2,000 tokens of which they
use 300 or so. As much comes as uses 95 % of what the quota gives in the time of the run, and a little for what is not
done by its end. It comes in bursts, a Poisson process whose rate changes between two states at random times: evenly
spread traffic would not empty a bucket in minutes. All runs get the same requests at the same times.

Simulated, and live: emulated providers in processes of their own, gateways and clients in this one, all four at once,
over loopback sockets, with the provider's own rate-limit headers. The baseline is the same policy that reserves
nothing: it learns of an empty bucket by a 429, leaves the provider alone for as long as `retry-after` says, and then
asks with one request at a time until one is taken. That is kinder than a fixed cooldown.

What it does not show: other users of the same key, whom the headers alone tell of.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple
from urllib.request import urlopen

import typer
from rich.console import Console
from rich.table import Table

from headrace.fleet import Backend, Deployment, Fleet, Limits, Model, OperatingPoint, PerToken, Pool, Quota, Route
from headrace.policy import AnyAction, AnyEvent, AttemptFailed, Dispatch, FailureKind, Finished
from headrace.sim import simulate
from headrace.study.up import UpSettings, running_system
from headrace.workload import Request, WorkloadClass

DIALECTS = ("cerebras", "groq")
TOKENS_PER_MINUTE = 60_000.0
CEILING = 2000
USED = 0.96
BURST_S, CALM_S = 15.0, 15.0  # mean time in each state
BURST_PER_S, CALM_PER_S = 2.4, 0.4  # requests per second


class Counted(NamedTuple):
    """What one run saw."""

    attempts: int
    refused: int
    used: float


class Watch:
    """Counts dispatches, refusals and tokens, whatever drives the engine."""

    def __init__(self, seconds: float) -> None:
        self._end_s = seconds
        self._attempts = self._refused = 0
        self._tokens = 0

    def __call__(self, now_s: float, event: AnyEvent, actions: list[AnyAction]) -> None:
        self._attempts += sum(isinstance(action, Dispatch) for action in actions)
        self._refused += isinstance(event, AttemptFailed) and event.kind is FailureKind.OVERLOADED
        if isinstance(event, Finished):
            self._end_s = max(self._end_s, now_s)
            self._tokens += (event.input_tokens or 0) + (event.output_tokens or 0)

    def counted(self) -> Counted:
        return Counted(self._attempts, self._refused, self._tokens / granted(self._end_s))


def granted(seconds: float) -> float:
    """Tokens that the quota gives in so long: a full bucket, and the refill."""
    return TOKENS_PER_MINUTE * (1.0 + seconds / 60.0)


def fleet_of(dialect: str, reserve: bool) -> Fleet:
    """One service with a quota."""
    model = Model(**(dict.fromkeys(Model.__dataclass_fields__, 1) | {"name": "m", "context_tokens": 100_000}))  # type: ignore[arg-type]
    quota = Quota(tokens_per_minute=TOKENS_PER_MINUTE)
    deployment = Deployment("service", model, observed=OperatingPoint(0.2, 1e5, 0.001), quota=quota)
    backend = Backend("service-1", "service", "http://127.0.0.1:1", dialect=dialect, emulated=True)
    limits = Limits(reserve_quota=reserve, queue_timeout_s=600.0, queue_depth=10_000, overload_s=1e6)
    return Fleet(
        models={"m": model},
        deployments={"service": deployment},
        pools={"service": Pool("service", deployment, PerToken(0.1, 0.4), (backend,))},
        classes={"chat": WorkloadClass("chat", 0.0003, timeout_s=3600.0)},
        shares={},
        routes=(Route(("service",)),),
        limits=limits,
        default_class="chat",
    )


def traffic(seconds: float) -> Iterator[Request]:
    """Arrivals in bursts that use `USED` of what is granted: the same for whoever asks for the same length."""
    chance, arrivals_s = Random(0), []
    now_s, state_ends_s, burst = 0.0, 0.0, False
    while now_s < seconds:
        if now_s >= state_ends_s:
            burst = not burst
            state_ends_s = now_s + chance.expovariate(1.0 / (BURST_S if burst else CALM_S))
        gap_s = chance.expovariate(BURST_PER_S if burst else CALM_PER_S)
        now_s = min(now_s + gap_s, state_ends_s)
        if now_s < min(state_ends_s, seconds):
            arrivals_s.append(now_s)
    sizes = [(chance.randint(10, 990), chance.randint(10, 590)) for _ in arrivals_s]
    part = USED * granted(seconds) / sum(i + o for i, o in sizes)
    for at_s, (i, o) in zip(arrivals_s, sizes, strict=True):
        yield Request(at_s, "chat", max(round(part * i), 1), max(round(part * o), 1), max_output_tokens=CEILING)


def simulated(dialect: str, reserve: bool, seconds: float) -> Counted:
    watch = Watch(seconds)
    simulate(fleet_of(dialect, reserve), traffic(seconds), on_step=watch)
    return watch.counted()


async def live(dialect: str, reserve: bool, seconds: float) -> Counted:
    with TemporaryDirectory() as folder:
        settings = UpSettings(Path(folder) / "ledger.jsonl", 0, 0)
        async with running_system(fleet_of(dialect, reserve), settings) as system:
            done = await system.drive(traffic(seconds), lambda progress: None, asyncio.Event())
            state = json.loads(await asyncio.to_thread(lambda: urlopen(system.admin_url).read()))
    attempts, totals = state["attempts"], done.metrics.pools["service"]
    used = (totals.input_tokens + totals.output_tokens) / granted(max(seconds, done.end_s))
    return Counted(sum(attempts.values()), attempts.get("service-1/overloaded", 0), used)


async def all_live(seconds: float) -> dict[tuple[str, bool], Counted]:
    """Every combination, at the same time."""
    runs = [(dialect, reserve) for dialect in DIALECTS for reserve in (False, True)]
    found = await asyncio.gather(*(live(dialect, reserve, seconds) for dialect, reserve in runs))
    return dict(zip(runs, found, strict=True))


def main(
    seconds: Annotated[float, typer.Option(help="Length of every run.")] = 300.0,
    run_live: Annotated[bool, typer.Option("--live/--no-live")] = True,
) -> None:
    """Print the share of attempts that were answered 429, and how much of the quota was used."""
    table = Table(title=f"429s at 95 % of a quota of 60,000 tokens per minute, {seconds:g} s")
    for head in ("counts as", "run", "quota", "attempts", "429s", "of attempts", "quota used"):
        table.add_column(head)
    lived = asyncio.run(all_live(seconds)) if run_live else {}
    for dialect in DIALECTS:
        for reserve in (False, True):
            said = "reserved" if reserve else "reactive"
            runs = {"simulated": simulated(dialect, reserve, seconds)}
            if run_live:
                runs["live"] = lived[dialect, reserve]
            for name, found in runs.items():
                part = f"{found.refused / found.attempts:.2%}"
                table.add_row(dialect, name, said, str(found.attempts), str(found.refused), part, f"{found.used:.1%}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
