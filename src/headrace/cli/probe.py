"""`headrace probe URL --model M`: measure a live endpoint within a budget, into a file that `calibrate` reads."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headrace.bench import (
    Budget,
    Cell,
    ProbeFile,
    ProbeHeader,
    ProbeOutcome,
    ProbePlan,
    ProbeProgress,
    ProbeSettings,
    Selection,
    complete_cells,
    select,
    spent_before,
    summarise,
)
from headrace.bench import probe as run_probe
from headrace.cli.output import JsonPath, say, write_result
from headrace.cli.probe_table import show_probe
from headrace.cli.running import stopped_by_signals
from headrace.errors import ConfigError, Fault


def probe(
    url: Annotated[str, typer.Argument(help="Base URL of the endpoint, for instance https://api.groq.com/openai.")],
    model: Annotated[str, typer.Option(help="The model to ask for.")],
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable that holds the key.")] = None,
    out: Annotated[Path | None, typer.Option(help="Probe file; appended to. Default: probe-MODEL.jsonl.")] = None,
    budget_requests: Annotated[int | None, typer.Option(min=1, help="Send no more requests than this.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=1, help="Spend no more tokens, in and out.")] = None,
    input_price: Annotated[float | None, typer.Option(min=0.0, help="USD per million input tokens.")] = None,
    output_price: Annotated[float | None, typer.Option(min=0.0, help="USD per million output tokens.")] = None,
    max_concurrency: Annotated[int, typer.Option(min=1, max=256, help="Most requests at once.")] = 8,
    max_input: Annotated[int, typer.Option(min=96, help="Longest prompt, in tokens.")] = 8192,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Of each measurement.")] = 3,
    output_tokens: Annotated[int, typer.Option(min=24, help="Ceiling of the long answers.")] = 64,
    queue: Annotated[bool, typer.Option(help="Send twice --max-concurrency, to see where requests wait.")] = True,
    token_field: Annotated[str, typer.Option(help="max_tokens, or max_completion_tokens.")] = "max_tokens",
    ignore_eos: Annotated[bool, typer.Option(help="Ask for answers of full length (vLLM, SGLang, llama.cpp).")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before sending.")] = False,
    json: JsonPath = None,
) -> None:
    """Measure an endpoint's speed, within a budget: states the worst case first, and asks.

    Every request is written to the probe file as it ends. The same command again sends only what is missing; Ctrl-C
    stops it at any time.
    """
    settings = ProbeSettings(_api_key(api_key_env), token_field, ignore_eos)
    file = _file(out, url, model)
    plan = ProbePlan(max_input, max_concurrency, repeats, output_tokens, queue=queue).cells()
    budget = Budget(budget_requests, budget_tokens)
    selection = select(plan, complete_cells(file.records, plan), spent_before(file.records), budget)
    _state(selection, file, input_price, output_price)
    stopped = False
    if selection.cells:
        if not yes:
            typer.confirm("send them?", abort=True, err=True)
        outcome = uvloop.run(_drive(selection, file, budget, settings))
        stopped = outcome.stopped
        _say_how_it_went(outcome, file)
    _report(json, file, plan, stopped)


def _api_key(name: str | None) -> str | None:
    if name is None:
        return None
    key = os.environ.get(name)
    if not key:
        raise ConfigError("command line", [Fault("--api-key-env", f"{name} is not set in the environment; export it")])
    return key


def _base(url: str) -> str:
    """The base URL: `/v1` belongs to the endpoint's path."""
    return url.rstrip("/").removesuffix("/v1")


def _file(out: Path | None, url: str, model: str) -> ProbeFile:
    path = out or Path(f"probe-{re.sub('[^A-Za-z0-9._-]+', '-', model)}.jsonl")
    return ProbeFile(path, ProbeHeader(1, _base(url), model, datetime.now(UTC).isoformat(timespec="seconds")))


def _report(json: Path | None, file: ProbeFile, plan: Sequence[Cell], stopped: bool) -> None:
    """What the file holds now, of this run and of earlier ones."""
    summary, complete = summarise(file.records), complete_cells(file.records, plan)
    header, spent = file.header, spent_before(file.records)._asdict()
    result = {"schema": 1, "command": "probe", "url": header.url, "model": header.model, "file": str(file.path)}
    missing = [cell.name for cell in plan if cell.name not in complete]
    write_result(json, result | {"spent": spent, "stopped": stopped, "missing": missing, "measured": summary})
    if json is None or str(json) != "-":
        show_probe(summary)


def _state(selection: Selection, file: ProbeFile, input_price: float | None, output_price: float | None) -> None:
    """The worst case, before anything is sent."""
    worst = selection.worst
    if file.records:
        say(f"{file.path} holds {len(file.records)} requests of earlier runs; what is missing will be sent")
    if not selection.cells:
        say("nothing is missing" if not selection.left_out else "the budget has no room for anything more")
    else:
        say(
            f"at most {worst.requests} requests (and {selection.retries} retries), {worst.input_tokens:,} input and "
            f"{worst.output_tokens:,} output tokens"
        )
        say(_cost(selection, input_price, output_price))
    if selection.left_out:
        names = ", ".join(cell.name for cell in selection.left_out)
        say(f"the budget leaves out {len(selection.left_out)} measurements: {names}")


def _cost(selection: Selection, input_price: float | None, output_price: float | None) -> str:
    if input_price is None or output_price is None:
        return "the cost is unknown: --input-price and --output-price (USD per million tokens) make it known"
    return f"at most {selection.worst.cost_usd(input_price, output_price):.4f} USD"


async def _drive(selection: Selection, file: ProbeFile, budget: Budget, settings: ProbeSettings) -> ProbeOutcome:
    stop = stopped_by_signals()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("probing", total=selection.worst.requests)

        def show(progress: ProbeProgress) -> None:
            bar.update(task, completed=progress.ended, description=progress.doing)

        return await run_probe(selection, file, budget, settings, on_progress=show, stop=stop)


def _say_how_it_went(outcome: ProbeOutcome, file: ProbeFile) -> None:
    spent = outcome.spent
    say(f"spent {spent.requests} requests, {spent.input_tokens:,} input and {spent.output_tokens:,} output tokens")
    if outcome.stopped:
        say(f"stopped; {file.path} has what was measured, and the same command goes on from there")
    elif outcome.missing:
        say(f"{len(outcome.missing)} measurements are missing: {', '.join(outcome.missing)}")
