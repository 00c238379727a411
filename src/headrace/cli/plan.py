"""`headrace plan SCENARIO`: the cheapest plan that meets every SLO and constraint, proven by simulation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from headrace.cli.options import TimingPath
from headrace.cli.output import JsonPath, keep_for_results, say, say_all, write_bytes
from headrace.cli.running import write_timing
from headrace.config import fleet_text, load_scenario, scenario_texts
from headrace.errors import ConfigError, Fault
from headrace.fleet.scenario import Scenario, SolverLimits

if TYPE_CHECKING:  # the solver takes a second to import: a scenario with faults is answered without it
    from headrace.plan.solve import Progress
    from headrace.study.plan.answer import PlanAnswer
    from headrace.study.plan.make import Made, Watching

ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file; see docs/plan.md.")]
ReportPath = Annotated[
    Path | None, typer.Option("--report", help="Write the report here, as one HTML page; takes further solves.")
]
FleetPath = Annotated[
    Path | None, typer.Option("--fleet", help="Write the plan here as a fleet file that the gateway runs.")
]
Demand = Annotated[
    list[str] | None, typer.Option("--demand", help="CLASS=TRACE, repeatable: the shape of a class's demand.")
]
Gap = Annotated[float | None, typer.Option(min=0.0, max=1.0, help="(cost - proven bound) / cost that is good enough.")]
TimeLimit = Annotated[float | None, typer.Option(min=0.1, help="Seconds for one solve.")]
Period = Annotated[
    str | None, typer.Option("--period", help="Fleet, shares and traffic of this period; an unknown one lists all.")
]
TrafficPath = Annotated[
    Path | None, typer.Option("--traffic", help="Write the planned traffic into this folder, a trace for each class.")
]
StudyLimit = Annotated[float, typer.Option(min=0.0, help="Seconds for all further solves of a report.")]


def plan(
    scenario: ScenarioFile,
    report: ReportPath = None,
    json: JsonPath = None,
    fleet: FleetPath = None,
    demand: Demand = None,
    gap: Gap = None,
    time_limit: TimeLimit = None,
    study_limit: StudyLimit = 600.0,
    period: Period = None,
    traffic: TrafficPath = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of the traffic that --traffic writes.")] = 600.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the solver.")] = 2,
    proof: Annotated[bool, typer.Option(help="Simulate the plan, and tighten it where it breaks its word.")] = True,
    timing: TimingPath = None,
) -> None:
    """Plan fleet, contracts and share at the lowest total cost of ownership, and prove it by simulation.

    Exits with 2 where no plan meets the constraints; the smallest set of them that conflicts is named then.
    """
    keep_for_results()  # HiGHS greets on standard output
    loaded = load_scenario(scenario, _traces(demand or []))
    loaded = replace(loaded, solver=_limits(loaded, gap, time_limit))
    from headrace.study.plan.answer import encode_answer
    from headrace.study.plan.make import Wanted, make_plan

    started_s = time.perf_counter()
    wanted = Wanted(proof, report is not None, study_limit, threads, period)
    with _watching() as watching:
        made = make_plan(loaded, scenario_texts(scenario), wanted, watching)
    wall_s = time.perf_counter() - started_s
    say(f"planned in {wall_s:.1f} s")
    if json is not None:
        write_bytes(json, encode_answer(made.answer))
    _write(made, report, fleet)
    if traffic is not None:
        _write_traffic(made, traffic, seconds)
    write_timing(timing, wall_s)
    if json is None or str(json) != "-":
        from headrace.cli.plan_table import show_answer

        show_answer(made.answer)


def answer_of(path: Path) -> PlanAnswer:
    """The plan in a JSON file, or of a scenario file: planned and proven now, without further solves.

    Raises:
        ConfigError: the file cannot be read, or is neither.
    """
    from headrace.study.plan.answer import decode_answer
    from headrace.study.plan.make import Wanted, make_plan

    if path.suffix == ".json":
        try:
            return decode_answer(path.read_bytes())
        except msgspec.DecodeError as error:
            raise ConfigError(str(path), [Fault("plan", f"{error}; write it with headrace plan --json")]) from error
    keep_for_results()
    loaded = load_scenario(path)
    with _watching() as watching:
        return make_plan(loaded, scenario_texts(path), Wanted(), watching).answer


def _write(made: Made, report: Path | None, fleet: Path | None) -> None:
    if report is not None:
        from headrace.study.plan.page import plan_page

        report.write_text(plan_page(made.answer), encoding="utf-8")
        say(f"wrote {report}")
        say_all(f"no time was left for {what}" for what in made.answer.studies.left_out)
    if fleet is not None:
        from headrace.study.plan.comments import comments

        fleet.write_text(fleet_text(made.fleet(), comments(made)), encoding="utf-8")
        say(f"wrote {fleet}: backends are emulated on loopback ports; write the URLs of yours there")


def _write_traffic(made: Made, folder: Path, seconds: float) -> None:
    from headrace.study.plan.traces import write_traffic

    for each in write_traffic(made, folder, seconds):
        say(f"wrote {each.path}: {each.requests:,} requests")
        if len(each.models) > 1:
            models = ", ".join(each.models)
            say(f"{each.workload_class} asks for {models}, and the trace does not say which: give replay a --model")


def _traces(options: list[str]) -> dict[str, str]:
    """`CLASS=PATH` options as a mapping. Raises ConfigError for one that is none."""
    found: dict[str, str] = {}
    faults = []
    for option in options:
        name, given, path = option.partition("=")
        if not (name and given and path):
            faults.append(Fault("--demand", f"{option!r}: write CLASS=TRACE"))
        found[name] = path
    if faults:
        raise ConfigError("command line", faults)
    return found


def _limits(scenario: Scenario, gap: float | None, time_limit_s: float | None) -> SolverLimits:
    limits = scenario.solver
    return replace(
        limits,
        gap=limits.gap if gap is None else gap,
        time_limit_s=limits.time_limit_s if time_limit_s is None else time_limit_s,
    )


@contextlib.contextmanager
def _watching() -> Iterator[Watching]:
    """A line that says what goes on, and where the solver stands; plain lines where the output is no terminal."""
    from headrace.study.plan.make import Watching

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[solver]}"),
    )
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None, solver="")

        def told(what: str) -> None:
            bar.update(task, description=what, solver="")
            if not console.is_terminal:
                say(what)

        def solver(progress: Progress) -> None:
            bar.update(task, solver=_standing(progress))

        yield Watching(told, solver)


def _standing(progress: Progress) -> str:
    """Incumbent, bound and gap in a few words."""
    bound = f"bound {progress.bound_usd:,.0f} USD"
    if progress.incumbent_usd is None:
        return f"{progress.phase}: {bound}"
    return f"{progress.phase}: {progress.incumbent_usd:,.0f} USD, {bound}, gap {100.0 * progress.gap:.2f} %"
