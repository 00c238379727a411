"""Reference pages from headrace itself: run as a script it writes them, as a hook of mkdocs it checks them.

They are kept with the pages that people write, so that a change of a flag or a setting shows in its own diff.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer

from headrace.cli import COMMANDS, app
from headrace.config import document
from headrace.fleet import Limits
from headrace.wire.errors import WIRE_ERRORS

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by docs/reference/generate.py: change what it reads, not this page. -->"


def pages() -> dict[str, str]:
    """Every generated page, by file name."""
    made = {"cli.md": _cli(), "fleet-file.md": _fleet_file(), "errors.md": _errors()}
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


def _fleet_file() -> Iterator[str]:
    yield from ("# Fleet file", "", "A setting without a default must be given. Units are in the names.")
    for table in vars(document).values():
        if isinstance(table, type) and issubclass(table, document.Table) and table is not document.Table:
            yield from ("", f"## {table.__name__.removesuffix('Table')}", "", _words(inspect.getdoc(table)), "")
            yield from ("| setting | type | default |", "| --- | --- | --- |")
            for setting in msgspec.structs.fields(table):
                yield f"| `{setting.encode_name}` | {_type(setting)} | {_default(setting)} |"
    yield from ("", "## Limits", "", "`[limits]`; what each means is below the table.", "")
    yield from ("| setting | default |", "| --- | --- |")
    for name, value in _limits():
        yield f"| `{name}` | `{value}` |"
    yield from ("", "```text", inspect.getdoc(Limits) or "", "```")


def _limits() -> Iterator[tuple[str, object]]:
    for name in Limits.__slots__:
        yield name, getattr(Limits(), name)


def _type(setting: Any) -> str:
    return _cell(msgspec.inspect.type_info(setting.type).__class__.__name__.removesuffix("Type").lower())


def _default(setting: Any) -> str:
    if setting.required:
        return ""
    made = setting.default if setting.default is not msgspec.NODEFAULT else setting.default_factory()
    return "not set" if made is None else f"`{_cell(str(made)) or '...'}`"


def _errors() -> Iterator[str]:
    yield from ("# Errors", "", "| error | status | type | code | metric label | when |", f"|{' --- |' * 6}")
    for error, wire in WIRE_ERRORS.items():
        when = _words((inspect.getdoc(error) or "").split("\n\n")[0])
        yield f"| {error.__name__} | {wire.status} | {wire.wire_type} | {wire.code or ''} | {wire.label} | {when} |"


def _words(text: str | None) -> str:
    return _cell(" ".join((text or "").split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
