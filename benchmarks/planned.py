"""Does a plan keep its word when it is run? What it promised, its simulation, and the live gateway, side by side.

    make bench-planned      (or: python benchmarks/planned.py examples/plan-c-company.toml --seconds 120)

The scenario is planned, and fleet and traffic of its busiest period are written as files. The fleet is emulated (model
servers in real time behind real ports), `headrace serve` routes with the plan's shares and prices, and the traffic is
replayed against it; the same files are simulated. A warm-up is replayed and not judged: caches, lengths and prices are
learnt in it.

    share       of the whole run, as clients saw it
    attainment  requests of the judged stretch that met every threshold of their class, over all that came in it
    USD/h       held capacity, and what the ledger's attempts of that stretch add: tokens at their price, energy
    waiting     value of time * E2E of its requests
    together    what the plan minimises: the gateway may trade one for the other

Traffic is drawn, so a little more or less of it comes than the plan counts on: `promised` is the plan's hour, `as came`
the plan's own figures for the requests that came, and live is held against both.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from headrace.bench import ReplaySettings, marginal_costs
from headrace.bench import replay as run_replay
from headrace.config import fleet_text, load_fleet, load_scenario
from headrace.cost import period_rates, share_rates
from headrace.fleet import Fleet
from headrace.ledger import read_ledger
from headrace.metrics import RequestRecord, RunMetrics
from headrace.plan.mixture import latencies
from headrace.sim import simulate
from headrace.study.plan.make import Made, Wanted, make_plan
from headrace.study.plan.traces import write_traffic
from headrace.study.plan.trial import planned_latency, planned_usd_per_h
from headrace.traces import TraceOptions, open_traces
from headrace.units import SECONDS_PER_HOUR
from headrace.workload import Request
from live import await_port, running

SCENARIO = Path(__file__).resolve().parent.parent / "examples" / "plan-c-company.toml"
PORT, ADMIN_PORT = 18292, 18293

console = Console(width=120)
Figures = dict[str, float]


def main(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.")] = SCENARIO,
    seconds: Annotated[float, typer.Option(help="Length of what is judged.")] = 600.0,
    warm_up: Annotated[float, typer.Option(help="Seconds before that.")] = 120.0,
    mark: Annotated[float, typer.Option(help="How far off a figure may be.")] = 0.10,
) -> None:
    """Print promised, simulated and live figures of a scenario's busiest period, and which are within the mark."""
    made = make_plan(load_scenario(scenario), [], Wanted(proof=False, threads=1))
    name = made.built.problem.periods[made.shown].name
    made = make_plan(load_scenario(scenario), [], Wanted(proof=False, threads=1, period=name))
    judged = Judged(made, warm_up, warm_up + seconds)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "fleet.toml").write_text(fleet_text(made.fleet(), {}), encoding="utf-8")
        fleet = load_fleet(work / "fleet.toml")
        traces = {one.workload_class: str(one.path) for one in write_traffic(made, work, warm_up + seconds)}
        requests = list(open_traces(traces, TraceOptions()))
        simulated = judged.simulated(fleet, requests)
        live = judged.live(fleet, requests, work)
    console.print(f"{name}: {len(requests):,} requests in {warm_up:.0f} + {seconds:.0f} s")
    show(judged.promised(), judged.as_came(requests), simulated, live, mark)


@dataclass(frozen=True)
class Judged:
    """A plan, and the stretch of a run of it that is judged: what arrives in [from_s, to_s)."""

    made: Made
    from_s: float
    to_s: float

    def holds(self, at_s: float) -> bool:
        return self.from_s <= at_s < self.to_s

    def promised(self) -> Figures:
        """An hour of the period, as the plan has it."""
        held, added, waiting = planned_usd_per_h(self.made.built, self.made.solution, self.made.shown)
        return self._shares() | self._classes() | _money(held + added, waiting)

    def as_came(self, requests: Sequence[Request]) -> Figures:
        """The plan's own figures, for the requests that came in the stretch instead of the mean demand."""
        built, flow = self.made.built, self.made.solution.flow[:, :, self.made.shown]
        came: dict[tuple[str, int, int], int] = {}
        for request in requests:
            if self.holds(request.arrival_s):
                size = request.workload_class, request.input_tokens, request.output_tokens
                came[size] = came.get(size, 0) + 1
        held, usd, waiting = planned_usd_per_h(built, self.made.solution, self.made.shown)[0], 0.0, 0.0
        seen = [latencies(built, self.made.solution, k, [self.made.shown]) for k in range(flow.shape[1])]
        for j, cell in enumerate(built.problem.cells):
            number = came.get((cell.workload_class, round(cell.input_tokens), round(cell.output_tokens)), 0)
            for k, candidate in enumerate(built.problem.candidates):
                if j in candidate.uses and flow[j, k] > 0.0:
                    part = number * float(flow[j, k] / flow[j].sum())
                    usd += part * candidate.uses[j].usd
                    waiting += part * float(seen[k].e2e_s[j, 0]) * cell.value_of_time_usd_per_s
        return _money(held + self._hourly(usd), self._hourly(waiting))

    def simulated(self, fleet: Fleet, requests: Sequence[Request]) -> Figures:
        """The same files through the simulator."""
        records: list[RequestRecord] = []
        result = simulate(fleet, iter(requests), on_request=records.append)
        usd = sum(each.cost_usd for each in records if self.holds(each.arrival_s))
        return self._figures(result.metrics, records, usd)

    def live(self, fleet: Fleet, requests: Sequence[Request], work: Path) -> Figures:
        """Through sockets: emulator, gateway, and this process as the clients."""
        metrics = Recording(fleet)
        serve = ("serve", "fleet.toml", "--port", str(PORT), "--admin-port", str(ADMIN_PORT), "--ledger", "l.jsonl")
        with running(work, "emulate", "fleet.toml"), running(work, *serve):
            await_port(ADMIN_PORT)
            settings = ReplaySettings()
            result = uvloop.run(run_replay(f"http://127.0.0.1:{PORT}", iter(requests), metrics, settings))
        late = result.lateness.quantile(0.99)
        console.print(f"sent late by {late or 0.0:.4f} s at p99; errors: {result.errors or 'none'}")
        usd = self._ledger_usd(fleet, work / "l.jsonl", requests[0].arrival_s)
        return self._figures(metrics, metrics.records, usd)

    def _ledger_usd(self, fleet: Fleet, path: Path, first_s: float) -> float:
        """What the ledger's attempts of the stretch add; its clock starts with the gateway: the first one sets it."""
        cost_usd, entries = marginal_costs(fleet), list(read_ledger(path))
        offset_s = min(each.at_s for each in entries) - first_s
        return sum(
            cost_usd(each.backend, each.input_tokens, each.output_low, each.cached_input_tokens or 0)
            for each in entries
            if self.holds(each.at_s - offset_s)
        )

    def _figures(self, metrics: RunMetrics, records: Sequence[RequestRecord], usd: float) -> Figures:
        found: Figures = {f"share {name}": meter.realized or 0.0 for name, meter in metrics.shares.items()}
        waiting = 0.0
        for name, workload_class in metrics.fleet.classes.items():
            own = [each for each in records if each.workload_class == name and self.holds(each.arrival_s)]
            met = [each.outcome == "completed" and workload_class.slo.met(each.ttft_s, each.tpot_s) for each in own]
            found[f"{name}: SLO met"] = float(np.mean(met))
            for figure in ("ttft_s", "tpot_s"):
                found[f"{name}: mean {figure[:4].upper()}, s"] = _mean(getattr(each, figure) for each in own)
            waiting += workload_class.value_of_time_usd_per_s * sum(each.e2e_s or 0.0 for each in own)
        held = planned_usd_per_h(self.made.built, self.made.solution, self.made.shown)[0]
        return found | _money(held + self._hourly(usd), self._hourly(waiting))

    def _hourly(self, usd: float) -> float:
        return usd * SECONDS_PER_HOUR / (self.to_s - self.from_s)

    def _shares(self) -> Figures:
        return {f"share {name}": share.target for name, share in self.made.fleet().shares.items()}

    def _classes(self) -> Figures:
        found: Figures = {}
        for one in self.made.built.scenario.classes:
            found[f"{one.name}: SLO met"] = one.workload_class.slo.attainment
            latency = planned_latency(self.made.built, self.made.solution, [self.made.shown], one.name)
            if latency is not None:
                found[f"{one.name}: mean TTFT, s"], found[f"{one.name}: mean TPOT, s"] = latency[:2]
        return found


class Recording(RunMetrics):
    """Metrics of a live run that keep every request."""

    def __init__(self, fleet: Fleet) -> None:
        rates = {share.name: share_rates(fleet, share) for share in fleet.shares.values()}
        super().__init__(fleet, rates, period_rates=period_rates(fleet))
        self.records: list[RequestRecord] = []

    def request(self, record: RequestRecord) -> None:
        super().request(record)
        self.records.append(record)


def _money(spent_usd: float, waiting_usd: float) -> Figures:
    return {"USD/h": spent_usd, "waiting, USD/h": waiting_usd, "together, USD/h": spent_usd + waiting_usd}


def _mean(values: Iterator[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def show(promised: Figures, came: Mapping[str, float], simulated: Figures, live: Figures, mark: float) -> None:
    """Attainment is promised as the least, all else as a mean."""
    table = Table(title=f"load average {os.getloadavg()[0]:.1f}")
    for head in ("figure", "promised", "as came", "simulated", "live", "live / promised", "live / as came", "kept"):
        table.add_column(head, justify="left" if head == "figure" else "right")
    for name, planned in promised.items():
        ratio, beside = live[name] / planned, live[name] / came.get(name, planned)
        kept = ratio >= 1.0 - mark if name.endswith("met") else abs(beside - 1.0) <= mark
        texts = [f"{value:.4g}" for value in (planned, came.get(name, planned), simulated[name], live[name])]
        table.add_row(name, *texts, f"{ratio:.3f}", f"{beside:.3f}", "yes" if kept else "no")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
