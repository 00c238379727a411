"""`headrace catalog KIND [NAME]`: the figures that headrace computes with, in readable units, with their sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from headrace.cli.output import JsonPath, write_result
from headrace.errors import Fault
from headrace.fleet import Attention
from headrace.fleet import catalog as tables
from headrace.fleet.catalog import UnknownName
from headrace.perf import kv_bytes_per_token

Row = Mapping[str, str]
Name = Annotated[str | None, typer.Argument(help="One row in full; without it, the table.")]

KILO, MEGA, GIGA, TERA, BILLION = 1e3, 1e6, 1e9, 1e12, 1e9
KV_BITS = 16
WIDE = 200  # characters, where the output is no terminal
UNITS: tuple[tuple[str, float, str], ...] = (
    ("sparse_index_bytes", 1.0, "B per token and layer"),
    ("memory_bandwidth_bytes_per_s", TERA, "TB/s"),
    ("sram_bytes", MEGA, "MB"),
    ("flops_int8", TERA, "TOP/s"),
    ("flops_", TERA, "TFLOP/s"),
    ("_bytes_per_s", GIGA, "GB/s"),
    ("_bytes", GIGA, "GB"),
    ("parameters", BILLION, "billion"),
    ("_bits", 1.0, "bit"),
    ("_tokens", 1.0, "tokens"),
    ("_usd_per_mtok", 1.0, "USD per million tokens"),
    ("_usd_per_h", 1.0, "USD/h"),
    ("_w", 1.0, "W"),
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """One kind of row: where it is kept, and which columns matter to somebody who compares.

    Attributes:
        columns: heading and text of each column of the overview.
        caption: what the overview leaves unsaid.
    """

    kind: str
    columns: dict[str, Callable[[Row], str]]
    caption: str

    @property
    def rows(self) -> list[dict[str, str]]:
        """Every row of the table, as it stands in the file."""
        return tables.table(f"{self.kind}.csv")


catalog = typer.Typer(help="Accelerators, systems, models and prices, with their sources.", no_args_is_help=True)


@catalog.command()
def accelerators(name: Name = None, json: JsonPath = None) -> None:
    """Chips: memory, bandwidth, peaks, power and price."""
    rows = _named(ACCELERATORS, None if name is None else tables.accelerator(name).name)
    _show(ACCELERATORS, rows, name, json)


@catalog.command()
def systems(name: Name = None, json: JsonPath = None) -> None:
    """Nodes, racks, slices and instances."""
    rows = _named(SYSTEMS, None if name is None else tables.system(name).name)
    _show(SYSTEMS, rows, name, json)


@catalog.command()
def models(name: Name = None, json: JsonPath = None) -> None:
    """Models and their architecture; NAME may be an alias."""
    rows = _named(MODELS, None if name is None else tables.find_model(name).name)
    _show(MODELS, rows, name, json)


@catalog.command()
def prices(name: Name = None, json: JsonPath = None) -> None:
    """List prices; NAME is a model, an alias of it, or a provider."""
    _show(PRICES, _prices_named(name), name, json)


def _named(sheet: Sheet, name: str | None) -> list[dict[str, str]]:
    return [row for row in sheet.rows if name in (None, row["name"])]


def _prices_named(name: str | None) -> list[dict[str, str]]:
    """All current prices, or every row of one model or provider, old ones too."""
    if name is None:
        return [row for row in PRICES.rows if row["status"] == "current"]
    providers = {row["provider"]: None for row in PRICES.rows}
    if name in providers:
        return [row for row in PRICES.rows if row["provider"] == name]
    try:
        wanted = tables.find_model(name).name
    except UnknownName:
        advice = tables.close_matches(name, [*(model.name for model in tables.models()), *providers])
        raise UnknownName("catalog", [Fault(f"prices.{name}", f"no model or provider {name!r}; {advice}")]) from None
    return [row for row in PRICES.rows if row["model"] == wanted]


def _show(sheet: Sheet, rows: list[dict[str, str]], name: str | None, json: JsonPath) -> None:
    values = [{column: _value(column, cell) for column, cell in row.items()} for row in rows]
    write_result(json, {"schema": 1, "command": f"catalog {sheet.kind}", sheet.kind: values})
    if json is not None and str(json) == "-":
        return
    console = Console()
    if name is None:
        width = console.width if console.is_terminal else None
        Console(width=width or WIDE).print(_overview(sheet, rows, width))
    for row in rows if name is not None else ():
        console.print(_in_full(row))


def _overview(sheet: Sheet, rows: list[dict[str, str]], width: int | None) -> Table:
    """As many columns as fit into `width` characters unbroken, at least three; None: all."""
    headings = list(sheet.columns)
    for count in range(len(headings), 2, -1):
        table = _table(sheet, rows, headings[:count])
        if width is None or Measurement.get(Console(width=1000), Console(width=1000).options, table).maximum <= width:
            break
    if count < len(headings):
        table.caption = f"{sheet.caption} A wider terminal shows {', '.join(headings[count:])} too."
    return table


def _table(sheet: Sheet, rows: Iterable[Row], headings: list[str]) -> Table:
    table = Table(title=sheet.kind, title_justify="left", caption=sheet.caption, caption_justify="left", box=SIMPLE)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(sheet.columns[heading](row) for heading in headings))
    return table


def _in_full(row: Row) -> Table:
    table = Table(title=row.get("name") or row["provider_model"], title_justify="left", show_header=False)
    for column, cell in row.items():
        if cell:
            table.add_row(column, _readable(column, cell))
    return table


def _readable(column: str, cell: str) -> str:
    """A cell in a unit for people: what its column name says, scaled."""
    value = _value(column, cell)
    if isinstance(value, list):
        return "\n".join(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return cell
    known = (each for each in UNITS if column.startswith(each[0]) or column.endswith(each[0]))
    _, scale, unit = next(known, ("", 1.0, ""))
    return f"{_digits(value / scale, 6)} {unit}".strip()


def _value(column: str, cell: str) -> str | float | bool | list[str] | None:
    """A cell as JSON has it: dates and words as text, figures as numbers, an empty cell as null."""
    if column in tables.LISTS:
        return [part.strip() for part in cell.split(";") if part.strip()]
    if not cell or column.endswith("date"):
        return cell or None
    if cell in ("true", "false"):
        return cell == "true"
    try:
        return int(cell) if cell.isdecimal() else float(cell)
    except ValueError:
        return cell


def _digits(value: float, significant: int) -> str:
    """A number with so many significant digits, never as a power of ten."""
    return f"{value:,.0f}" if abs(value) >= 10 ** (significant - 1) else f"{value:,.{significant}g}"


def _figure(column: str, scale: float = 1.0, significant: int = 4) -> Callable[[Row], str]:
    """The column of an overview that shows one figure, `-` where it is not known."""
    return lambda row: _digits(float(row[column]) / scale, significant) if row[column] else "-"


def _word(column: str) -> Callable[[Row], str]:
    return lambda row: row[column] or "-"


def _memory(row: Row) -> str:
    return f"{_figure('memory_bytes', GIGA)(row)} GB {row['memory_kind']}"


def _scale_up(row: Row) -> str:
    speed, chips = _figure("scale_up_bandwidth_bytes_per_s", GIGA), _figure("scale_up_domain_chips")
    return f"{speed(row)} x {chips(row)}"


def _recalled(row: Row) -> str:
    value = _value("unverified", row["unverified"])
    return str(len(value)) if isinstance(value, list) and value else ""


def _total_memory(row: Row) -> str:
    return _digits(int(row["count"]) * tables.accelerator(row["accelerator"]).memory_bytes / GIGA, 4)


def _attention(row: Row) -> str:
    """How the layers attend: `18 full gqa 8x64 + 18 window 128`."""
    model = tables.model(row["name"])
    latent = f"mla {model.kv_lora_rank}+{model.rope_head_size}"
    kind = latent if model.attention is Attention.MLA else f"gqa {model.kv_heads}x{model.head_size}"
    parts = [f"{model.full_attention_layers} {kind}" + (" sparse" if model.sparse_attention_tokens else "")]
    if model.sliding_window_layers:
        parts.append(f"{model.sliding_window_layers} window {model.sliding_window_tokens:,}")
    if model.linear_attention_layers:
        parts.append(f"{model.linear_attention_layers} linear")
    return " + ".join(parts)


def _experts(row: Row) -> str:
    model = tables.model(row["name"])
    shared = f" + {model.shared_experts}" if model.shared_experts else ""
    return f"{model.active_experts}{shared} of {model.experts}" if model.experts > 1 else "dense"


def _kv(row: Row) -> str:
    return _digits(kv_bytes_per_token(tables.model(row["name"]), KV_BITS) / KILO, 4)


ACCELERATORS = Sheet(
    "accelerators",
    {
        "name": _word("name"),
        "memory": _memory,
        "TB/s": _figure("memory_bandwidth_bytes_per_s", TERA),
        "bf16": _figure("flops_bf16", TERA),
        "fp8": _figure("flops_fp8", TERA),
        "fp4": _figure("flops_fp4", TERA),
        "scale-up": _scale_up,
        "TDP": _figure("tdp_w"),
        "all-in": _figure("all_in_w"),
        "USD/h": _figure("price_usd_per_h"),
        "recalled": _recalled,
    },
    "TB/s of the memory that holds the weights; bf16, fp8, fp4: dense peak TFLOP/s; scale-up: GB/s one way x chips; "
    "TDP and all-in data-centre power in W. USD/h are on different bases: look before you compare. "
    "recalled: figures without a checked source. NAME prints sources and notes.",
)
SYSTEMS = Sheet(
    "systems",
    {
        "name": _word("name"),
        "accelerators": lambda row: f"{row['count']} x {row['accelerator']}",
        "scale-up chips": _figure("scale_up_domain_chips"),
        "memory GB": _total_memory,
        "power kW": _figure("power_w", KILO),
        "which power": _word("power_basis"),
        "recalled": _recalled,
    },
    "NAME prints sources and notes.",
)
MODELS = Sheet(
    "models",
    {
        "name": _word("name"),
        "parameters": _figure("parameters", BILLION),
        "active": _figure("active_parameters", BILLION),
        "weights GB": _figure("weight_bytes", GIGA),
        "bits": _word("native_weight_bits"),
        "layers": _attention,
        "experts": _experts,
        "KV kB/token": _kv,
        "context": _figure("context_tokens"),
        "recalled": _recalled,
    },
    "The language model alone; parameters in billions. bits: the bulk of the checkpoint; KV at 16 bits, without "
    "windows and states of fixed size. recalled: figures without a checked source. NAME prints sources and aliases.",
)
PRICES = Sheet(
    "prices",
    {
        "model": _word("model"),
        "provider": _word("provider"),
        "input": _figure("input_usd_per_mtok"),
        "cached": _figure("cached_input_usd_per_mtok"),
        "output": _figure("output_usd_per_mtok"),
        "context": _figure("context_tokens"),
        "served by (assumed)": _word("hardware_assumed"),
        "date": _word("date"),
    },
    "USD per million tokens, current offers; NAME (a model or a provider) prints sources, and old rows too.",
)
