"""`headrace perf MODEL --on CHIP:COUNT`: how fast a model is on which silicon, how sure that is, and what binds it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from headrace.cli.output import JsonPath, say, write_result
from headrace.errors import ConfigError, Fault, ModelRangeError
from headrace.fleet import Deployment, catalog
from headrace.perf import Estimate, Load, ServedEstimate, closed_loop
from headrace.units import SECONDS_PER_HOUR, TOKENS_PER_MTOK

On = Annotated[list[str], typer.Option("--on", help="ACCELERATOR:COUNT, repeatable: one replica on so many of them.")]


COLUMNS = ("on", "clients", "TTFT, s", "TPOT, ms", "tok/s user", "tok/s chip", "USD", "bound by")
CAPTION = (
    "Bound by: the largest part of a token's time. USD: per million output tokens if it ran like this all the time, at "
    "the catalog's price of the accelerator; bases differ (headrace catalog accelerators NAME)."
)
WIDE = 120  # characters, where the output is no terminal


class Row(msgspec.Struct, frozen=True):
    """One deployment at one concurrency. `usd_per_mtok_output`: at the catalog's price per hour; None: it has none."""

    on: str
    concurrency: int
    ttft_s: Estimate
    tpot_s: Estimate
    tokens_per_s_user: float
    tokens_per_s_chip: float
    usd_per_mtok_output: float | None
    price_basis: str | None


def perf(
    model: Annotated[str, typer.Argument(help="Model of the catalog; an alias will do.")],
    on: On,
    input_tokens: Annotated[int, typer.Option("--input", min=1, help="Input tokens of each request.")] = 1000,
    output_tokens: Annotated[int, typer.Option("--output", min=1, help="Output tokens of each request.")] = 500,
    concurrency: Annotated[str, typer.Option(help="Clients of a closed loop, comma-separated.")] = "1,8,32,128",
    software: Annotated[str | None, typer.Option(help="Model server: vllm, sglang or trtllm; default: any.")] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of the weights; default: as the checkpoint has them.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the charts into this page.")] = None,
    json: JsonPath = None,
) -> None:
    """Predict TTFT, TPOT and cost of a model on silicon, with 80 % intervals and what binds them."""
    clients = _clients(concurrency)
    deployments = [_deployment(model, place, software, bits, max(clients)) for place in on]
    rows = [row for each in deployments for row in _rows(each, input_tokens, output_tokens, clients)]
    write_result(json, {"schema": 1, "command": "perf", "model": deployments[0].model.name, "rows": rows})
    if plot is not None:
        from headrace.study.charts import write_page  # plotly: not before it is asked for

        write_page(plot, deployments, input_tokens, output_tokens)
        say(f"charts in {plot}")
    if json is None or str(json) != "-":
        console = Console()
        wide = console if console.is_terminal else Console(width=WIDE)
        wide.print(_table(deployments[0].model.name, input_tokens, output_tokens, rows))
    if not rows:
        raise ModelRangeError("none of these can serve this; see the reasons above")


def _clients(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise ConfigError("command line", [Fault("--concurrency", f"{text!r}: whole numbers from 1, comma-separated")])
    return found


def _deployment(model: str, place: str, software: str | None, bits: int | None, batch: int) -> Deployment:
    name, colon, count = place.rpartition(":")
    if not colon or not count.isdecimal() or int(count) < 1:
        raise ConfigError("command line", [Fault(f"--on {place}", "write ACCELERATOR:COUNT, for instance H100:8")])
    chip, found = catalog.accelerator(name), catalog.find_model(model)
    return Deployment(place, found, chip, int(count), bits, max_batch=batch, software=software)


def _rows(deployment: Deployment, input_tokens: int, output_tokens: int, clients: list[int]) -> list[Row]:
    rows = []
    for count in clients:
        load = Load(input_tokens, output_tokens, count)
        try:
            rows.append(_row(deployment, load, closed_loop(deployment, [load])[0]))
        except ModelRangeError as error:
            say(str(error))
    return rows


def _row(deployment: Deployment, load: Load, served: ServedEstimate) -> Row:
    chip = deployment.accelerator
    request_s = served.ttft.value + served.tpot.value * max(1, load.output_tokens - 1)
    tokens_per_s = load.concurrency * load.output_tokens / request_s
    price = None if chip is None else chip.price_usd_per_h
    per_token = None if price is None else price * deployment.count / SECONDS_PER_HOUR / tokens_per_s
    return Row(
        on=deployment.name,
        concurrency=round(load.concurrency),
        ttft_s=served.ttft,
        tpot_s=served.tpot,
        tokens_per_s_user=1.0 / served.tpot.value,
        tokens_per_s_chip=tokens_per_s / deployment.count,
        usd_per_mtok_output=None if per_token is None else per_token * TOKENS_PER_MTOK,
        price_basis=None if chip is None else chip.price_basis,
    )


def _table(model: str, input_tokens: int, output_tokens: int, rows: list[Row]) -> Table:
    title = f"{model}: {input_tokens:,} tokens in, {output_tokens:,} out, closed loop; 80 % intervals"
    table = Table(title=title, title_justify="left", caption=CAPTION, caption_justify="left", box=SIMPLE)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index in (0, 7) else "right", no_wrap=index < 7)
    for row in rows:
        usd = "-" if row.usd_per_mtok_output is None else f"{row.usd_per_mtok_output:.3g}"
        ttft, tpot = _between(row.ttft_s, 1.0), _between(row.tpot_s, 1000.0)
        speeds = f"{row.tokens_per_s_user:,.0f}", f"{row.tokens_per_s_chip:,.0f}"
        table.add_row(row.on, str(row.concurrency), ttft, tpot, *speeds, usd, row.tpot_s.why)
    return table


def _between(estimate: Estimate, scale: float) -> str:
    value, low, high = (f"{part * scale:.3g}" for part in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low}-{high})"
