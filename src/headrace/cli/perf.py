"""`headrace perf MODEL --on CHIP:COUNT`: how fast a model is on which silicon, how sure that is, and what binds it.

Tables, charts and the fleet file are imported where they are asked for: most of a cold start is imports.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from headrace.cli.output import JsonPath, say, write_result
from headrace.cli.places import Wanted, model_of, place_of
from headrace.errors import ConfigError, Fault, ModelRangeError
from headrace.fleet import Speculation
from headrace.perf import Estimate, Load, Place, ServedEstimate, Split, closed_loop
from headrace.units import SECONDS_PER_HOUR, TOKENS_PER_MTOK

if TYPE_CHECKING:
    from headrace.config import Silicon

ON_HELP = (
    "Repeatable. ACCELERATOR:COUNT: one replica on so many of them. '2xH100:4 prefill + H100:8 decode': disaggregated, "
    "here two replicas that prefill and one that decodes. 'H100:8 speculation=0.7,4,0.05': speculative decoding with "
    "acceptance, draft tokens a pass, and time of a draft step over that of a decode step; speculation=true where "
    "measurements tell (WSE-3, SN40L). With --fleet also the name of a deployment."
)
On = Annotated[list[str], typer.Option("--on", help=ON_HELP)]
FleetPath = Annotated[Path | None, typer.Option("--fleet", help="Fleet file whose silicon and models may be named.")]


class Row(msgspec.Struct, frozen=True):
    """One place at one concurrency. `usd_per_mtok_output`: at the catalog's price per hour; None: it has none.

    Attributes:
        accelerators: of all its replicas; `tokens_per_s_chip` and the price are shared by them.
    """

    on: str
    concurrency: int
    accelerators: int
    split: Split | None
    speculation: Speculation | bool
    ttft_s: Estimate
    tpot_s: Estimate
    tokens_per_s_user: float
    tokens_per_s_chip: float
    usd_per_mtok_output: float | None
    price_basis: str | None


def perf(
    model: Annotated[str, typer.Argument(help="Model of the catalog or of --fleet; an alias will do.")],
    on: On,
    fleet: FleetPath = None,
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
    silicon = _silicon(fleet)
    wanted = Wanted(model_of(model, silicon), max(clients), software, bits)
    places, name = [place_of(text, wanted, silicon) for text in on], wanted.model.name
    rows = [row for place in places for row in _rows(place, input_tokens, output_tokens, clients)]
    write_result(json, {"schema": 1, "command": "perf", "model": name, "rows": rows})
    if plot is not None:
        from headrace.study.charts import write_page

        write_page(plot, places, input_tokens, output_tokens)
        say(f"charts in {plot}")
    if json is None or str(json) != "-":
        from headrace.cli.perf_table import show_rows

        show_rows(f"{name}: {input_tokens:,} tokens in, {output_tokens:,} out, closed loop; 80 % intervals", rows)
    if not rows:
        raise ModelRangeError("none of these can serve this; see the reasons above")


def _silicon(fleet: Path | None) -> Silicon | None:
    if fleet is None:
        return None
    from headrace.config import load_silicon

    return load_silicon(fleet)


def _clients(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise ConfigError("command line", [Fault("--concurrency", f"{text!r}: whole numbers from 1, comma-separated")])
    return found


def _rows(place: Place, input_tokens: int, output_tokens: int, clients: list[int]) -> list[Row]:
    rows = []
    for count in clients:
        load = Load(input_tokens, output_tokens, count)
        try:
            rows.append(_row(place, load, closed_loop(place, [load])[0]))
        except ModelRangeError as error:
            say(str(error))
    return rows


def _row(place: Place, load: Load, served: ServedEstimate) -> Row:
    deployment, count = place.deployment, place.accelerators
    chip = deployment.accelerator
    tokens_per_s = served.tokens_per_s(load)
    price = None if chip is None else chip.price_usd_per_h
    per_token = None if price is None else price * count / SECONDS_PER_HOUR / tokens_per_s
    return Row(
        on=deployment.name,
        concurrency=round(load.concurrency),
        accelerators=count,
        split=place.split,
        speculation=deployment.speculation,
        ttft_s=served.ttft,
        tpot_s=served.tpot,
        tokens_per_s_user=1.0 / served.tpot.value,
        tokens_per_s_chip=tokens_per_s / count,
        usd_per_mtok_output=None if per_token is None else per_token * TOKENS_PER_MTOK,
        price_basis=None if chip is None else chip.price_basis,
    )
