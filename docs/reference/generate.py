"""Reference pages from headrace itself: run as a script it writes them, as a hook of mkdocs it checks them.

They are kept with the pages that people write, so that a change of a flag or a setting shows in its own diff.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer

from headrace import fleet, workload
from headrace.cli import COMMANDS, app
from headrace.config import (
    deployment_tables,
    document,
    ledger,
    limits_table,
    peers_table,
    telemetry_table,
    tenants_table,
)
from headrace.gateway.metric_table import as_markdown
from headrace.wire.errors import MESSAGES_KINDS, WIRE_ERRORS

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by docs/reference/generate.py: change what it reads, not this page. -->"
HEAD = ("| setting | type | default | what it is |", "| --- | --- | --- | --- |")
WHERE = (
    "An answer that is an error has the shape of the API that was asked. `type` and `code` are `error.type` and "
    "`error.code` of OpenAI's shape. Commands raise the same classes: a message on standard error, and an exit code."
)
MESSAGES = "The Messages API has types of its own, one for each status; others are `api_error` from 500 on."


def pages() -> dict[str, str]:
    """Every generated page, by file name."""
    made = {"cli.md": _cli(), "fleet-file.md": _fleet_file(), "errors.md": _errors(), "metrics.md": _metrics()}
    return {name: "\n".join([NOTE, "", *lines]) + "\n" for name, lines in made.items()}


def on_pre_build(config: Any) -> None:
    """A hook of mkdocs. Raises SystemExit: a page is not what headrace says now."""
    stale = [name for name, text in pages().items() if (FOLDER / name).read_text(encoding="utf-8") != text]
    if stale:
        raise SystemExit(f"docs/reference: {', '.join(stale)} is out of date; python docs/reference/generate.py")


def _cli() -> Iterator[str]:
    yield "# Command line"
    group = typer.main.get_command(app)
    for name in COMMANDS:
        yield from _command(name, group.get_command(None, name))


def _command(name: str, command: Any) -> Iterator[str]:
    yield from ("", f"## headrace {name}", "", _words(command.help))
    if hasattr(command, "commands"):
        for inner, found in command.commands.items():
            yield from ("", f"### headrace {name} {inner}", "", _words(found.help), "", *_options(found))
        return
    yield from ("", *_options(command))


def _options(command: Any) -> Iterator[str]:
    yield "| | default | |"
    yield "| --- | --- | --- |"
    for each in command.params:
        spelled = " ".join(f"`{name}`" for name in (*each.opts, *each.secondary_opts))
        if each.param_type_name == "argument":
            spelled = f"`{each.human_readable_name.upper()}`"
        default = "" if each.default in (None, False, ()) or callable(each.default) else f"`{each.default}`"
        yield f"| {spelled} | {default} | {_words(getattr(each, 'help', None))} |"


TOP = {
    "schema": ("whole number", "", "the version of this form: 1"),
    "default_class": ("text", "", "the class of requests that no rule of a class knows"),
    "policy": ("text", "`prices`", "who picks backends; `headrace simulate --help` names them"),
    "aliases": ("table of text", "none", "names that clients may use, each for a model of `[models]`"),
    "fallbacks": (
        "table of arrays of text",
        "none",
        "for a model, others that are asked in order where it is not to be had",
    ),
}


class Section(NamedTuple):
    """A table of the file; `means` is the object that it becomes, whose docstring says what each setting means."""

    heading: str
    table: type[msgspec.Struct]
    means: type | None = None


SECTIONS = (
    Section("models.NAME", document.ModelTable, fleet.Model),
    Section("accelerators.NAME", document.AcceleratorTable, fleet.Accelerator),
    Section("deployments.NAME", deployment_tables.DeploymentTable, fleet.Deployment),
    Section("deployments.NAME.observed", deployment_tables.ObservedTable, fleet.OperatingPoint),
    Section("deployments.NAME.observed.ttft_quantiles_s", deployment_tables.QuantilesTable),
    Section("deployments.NAME.kv_cache", deployment_tables.KvCacheTable, fleet.KvCache),
    Section("deployments.NAME.quota", deployment_tables.QuotaTable, fleet.Quota),
    Section("deployments.NAME.replicas", deployment_tables.ReplicasTable, fleet.Replicas),
    Section("deployments.NAME.split", deployment_tables.SplitTable, fleet.Split),
    Section("deployments.NAME.spares", deployment_tables.SparesTable, fleet.Spares),
    Section("deployments.NAME.speculation", deployment_tables.SpeculationTable, fleet.Speculation),
    Section("pools.NAME", document.PoolTable, fleet.Pool),
    Section("pools.NAME.price (per_token)", document.PerTokenTable, fleet.PerToken),
    Section("pools.NAME.price (hourly)", document.HourlyTable, fleet.Hourly),
    Section("pools.NAME.backends", document.BackendTable, fleet.Backend),
    Section("classes.NAME", document.ClassTable, workload.WorkloadClass),
    Section("classes.NAME.slo", document.SloTable, workload.Slo),
    Section("classes.NAME.match", document.MatchTable, workload.Match),
    Section("shares.NAME", document.ShareTable, fleet.Share),
    Section("commitments.NAME", document.CommitmentTable, fleet.Commitment),
    Section("budgets.NAME", document.BudgetTable, fleet.Budget),
    Section("routes", document.RouteTable, fleet.Route),
    Section("limits", limits_table.LimitsTable, fleet.Limits),
    Section("signals", document.SignalsTable, fleet.Signals),
    Section("peers", peers_table.PeersTable, fleet.Peers),
    Section("ledger", ledger.LedgerTable, fleet.LedgerSettings),
    Section("telemetry", telemetry_table.TelemetryTable, fleet.TelemetrySettings),
    Section("tenants", tenants_table.TenantsTable, fleet.Tenants),
    Section("tenants.NAME", fleet.Allowance, fleet.Allowance),
    Section("tls", tenants_table.TlsTable, fleet.Tls),
    Section("admin", tenants_table.AdminTable, fleet.Admin),
)


def _fleet_file() -> Iterator[str]:
    yield from ("# Fleet file", "", "A setting without a default must be given. Units are in the names.")
    yield from ("", "## At the top", "", *HEAD)
    for name, (kind, default, meaning) in TOP.items():
        yield f"| `{name}` | {kind} | {default} | {meaning} |"
    for section in SECTIONS:
        yield from (
            "",
            f"## {section.heading}",
            "",
            _about(section),
            "",
            *HEAD,
        )
        meanings = meanings_of(section)
        for setting in msgspec.structs.fields(section.table):
            shown = (_type(setting.type), _default(section, setting), meanings[setting.encode_name])
            yield f"| `{setting.encode_name}` | {' | '.join(shown)} |"


def _about(section: Section) -> str:
    """What the code says of the table, and of what it becomes."""
    text = (inspect.getdoc(section.table) or "").partition("Attributes:")[0]
    text = re.sub(r"[:;]? (?:see|every setting has the default of) `(?:headrace\.)?fleet\.\w+`", "", text)
    text = re.sub(r" See `fleet\.\w+`\.", "", text)
    means = inspect.getdoc(section.means) if not re.search(r"`(:|\. )", text) else None
    return _words(" ".join((text, _in_toml((means or "").partition("\n\n")[0]))))


def meanings_of(section: Section) -> dict[str, str]:
    """What each setting of a table means. Raises SystemExit: a docstring lacks one."""
    found = {**_described(section.means), **_described(section.table)}
    names = [setting.encode_name for setting in msgspec.structs.fields(section.table)]
    if missing := [name for name in names if name not in found]:
        raise SystemExit(f"docs/reference: the docstring of {section.table.__name__} does not say what {missing} mean")
    return {name: found[name] for name in names}


def _described(table: type | None) -> dict[str, str]:
    """The attributes that a docstring lists, with their text; several may share one."""
    text = "" if table is None else (inspect.getdoc(table) or "").partition("Attributes:\n")[2]
    entries = re.split(r"\n    (?=\w)", "\n" + text.split("\n\n")[0])[1:]
    pairs = (entry.partition(":") for entry in entries)
    return {name.strip(): _in_toml(said) for names, _, said in pairs for name in names.split(",")}


def _in_toml(said: str) -> str:
    """In the words of a file, which has no None."""
    return _words(re.sub(r"\bNone\b", "left out", said).replace("False:", "`false`:").replace("(True)", "(`true`)"))


def _type(kind: Any) -> str:
    """The type of a setting and the range that it must lie in."""
    found = msgspec.inspect.type_info(kind)
    return _cell(_type_words(found))


def _type_words(found: Any) -> str:
    match found:
        case msgspec.inspect.UnionType():
            inner = (each for each in found.types if not isinstance(each, msgspec.inspect.NoneType))
            return " or ".join(dict.fromkeys(_type_words(each) for each in inner))
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            return f"array of {_type_words(found.item_type)}"
        case msgspec.inspect.DictType():
            return f"table of {_type_words(found.value_type)}"
        case msgspec.inspect.EnumType():
            return " or ".join(f"`{each.value}`" for each in found.cls)
        case msgspec.inspect.StructType():
            return "table"
        case msgspec.inspect.StrType():
            return "text" if found.pattern is None else f"text: `{found.pattern}`"
        case msgspec.inspect.BoolType():
            return "`true` or `false`"
        case msgspec.inspect.DateType():
            return "date"
    return {"IntType": "whole number", "FloatType": "number"}[type(found).__name__] + _range(found)


def _range(found: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    given = [f"{sign} {getattr(found, name):g}" for name, sign in signs.items() if getattr(found, name) is not None]
    return f" {', '.join(given)}" if given else ""


def _default(section: Section, setting: Any) -> str:
    """The table's own default, or that of the object that it becomes."""
    if setting.required:
        return ""
    made = setting.default if setting.default is not msgspec.NODEFAULT else setting.default_factory()
    if made is None and dataclasses.is_dataclass(section.means):
        theirs = {each.name: each.default for each in dataclasses.fields(section.means)}
        made = theirs.get(setting.name, dataclasses.MISSING)
    if made is None or made is dataclasses.MISSING or made in ((), [], {}) or isinstance(made, msgspec.Struct):
        return "none"
    return f"`{_cell(_toml(made))}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(getattr(value, "value", value))


def _errors() -> Iterator[str]:
    yield from ("# Errors", "", WHERE, "", "| error | status | type | code | metric label | when | what to do |")
    yield f"|{' --- |' * 7}"
    for error, wire in WIRE_ERRORS.items():
        when, _, remedy = (inspect.getdoc(error) or "").partition("Remedy:")
        if not remedy:
            raise SystemExit(f"docs/reference: the docstring of {error.__name__} does not say what to do (Remedy:)")
        row = (error.__name__, str(wire.status), wire.wire_type, wire.code or "", wire.label)
        yield f"| {' | '.join(row)} | {_words(when.split(chr(10) * 2)[0])} | {_words(remedy.split(chr(10) * 2)[0])} |"
    yield from ("", "## In the shape of Messages", "", MESSAGES, "", "| status | `error.type` |", "| --- | --- |")
    for status, kind in MESSAGES_KINDS.items():
        yield f"| {status} | {kind} |"


def _metrics() -> Iterator[str]:
    yield from ("# Metrics", "", "What `/metrics` says; how to scrape and read it: [telemetry](../telemetry.md).", "")
    yield as_markdown()


def _words(text: str | None) -> str:
    return _cell(" ".join((text or "").split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
