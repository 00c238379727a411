"""The pages say what is true: commands exist, snippets run, links lead somewhere, reference pages are current."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml

from headrace.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
NOT_RUN = re.compile(r"<!-- not run: (?P<why>.+?) -->\s*$")
PORTS = ("8080", "8081", "18301", "18302")
RUN = [DOCS / "tutorial.md", DOCS / "how-to" / "add-silicon.md"]


class Block(NamedTuple):
    page: Path
    language: str
    text: str
    not_run: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        marked = NOT_RUN.search(text[: found.start()])
        yield Block(page, found["language"], found["text"], marked["why"] if marked else None)


def named(page: Path) -> str:
    return str(page.relative_to(DOCS))


def command_lines(block: Block) -> Iterator[list[str]]:
    """Calls of headrace, one a line, without what the shell does with them."""
    for line in block.text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        if words[:1] == ["$"]:
            words = words[1:]
        if words[:1] == ["headrace"] and len(words) > 1:
            stop = next((n for n, word in enumerate(words) if word in ("&", "|", ">", "&&", ";", "2>&1", "...")), None)
            yield words[1:stop]


def unknown_words(words: list[str]) -> list[str]:
    """The command, if there is none of this name, and every option that it has not."""
    command: Any = typer.main.get_command(app)
    found = command if words[0].startswith("--") else command.get_command(None, words[0])
    if found is None:
        return words[:1]
    inner = getattr(found, "commands", {})  # without one of their names, the first is meant
    meant = [inner[words[1]]] if words[1:] and words[1] in inner else [found, *inner.values()]
    known = {name for each in meant for option in each.params for name in (*option.opts, *option.secondary_opts)}
    words = [word for word in words if word != "--help"]
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_every_command_and_option_on_a_page_exists(page: Path) -> None:
    unknown = {
        " ".join(words): found
        for block in blocks(page)
        if block.language in ("", "bash", "console")
        for words in command_lines(block)
        if (found := unknown_words(words))
    }
    assert unknown == {}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_toml_block_is_toml(page: Path) -> None:
    for block in blocks(page):
        if block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_python_block_compiles(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, str(page), "exec")


def anchors(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower()) for title in found}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_internal_link_leads_somewhere(page: Path) -> None:
    lost = []
    for found in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        target, _, anchor = found["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            lost.append(found["target"])
    assert lost == []


def free_ports() -> Callable[[str], str]:
    """Puts free ports in the place of those that the pages name."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        free = {port: str(each.getsockname()[1]) for port, each in zip(PORTS, sockets, strict=True)}
    return lambda text: re.sub(rf"\b(?:{'|'.join(PORTS)})\b", lambda found: free[found[0]], text)


@pytest.mark.parametrize("page", RUN, ids=named)
def test_the_commands_of_a_page_run_in_one_session(page: Path, tmp_path: Path) -> None:
    script = "\n".join(block.text for block in blocks(page) if block.language == "bash" and block.not_run is None)
    on_free_ports = free_ports()
    example = tmp_path / "examples" / "first-steps.toml"
    example.parent.mkdir()
    example.write_text(on_free_ports((ROOT / "examples" / "first-steps.toml").read_text()))
    both = "--port 8080 --admin-port 8081"
    for command in ("headrace serve fleet.toml", "headrace doctor fleet.toml"):
        script = script.replace(command, f"{command} {both}")
    script = on_free_ports(script)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=(tmp_path / "out").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        code = process.wait(timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing was left in the background
            os.killpg(process.pid, signal.SIGTERM)
    assert code == 0, (tmp_path / "out").read_text()


def test_blocks_that_are_not_run_say_why_and_are_few() -> None:
    marked = [block for page in PAGES for block in blocks(page) if block.not_run is not None]
    assert all(len(block.not_run or "") > len("no") for block in marked)
    unmarked = [
        block.page
        for page in PAGES
        for block in blocks(page)
        if block.language == "bash" and block.not_run is None and page not in RUN
    ]
    assert unmarked == []


def test_the_reference_is_what_headrace_says() -> None:
    file = DOCS / "reference" / "generate.py"
    spec = importlib.util.spec_from_file_location("reference_pages", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in module.pages().items():
        assert (DOCS / "reference" / name).read_text(encoding="utf-8") == text, "python docs/reference/generate.py"


def test_every_page_is_in_the_navigation() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = set(re.findall(r"[\w/-]+\.md", str(site["nav"])))
    assert {named(page) for page in PAGES if page.parent.name != "decisions"} == listed


def test_the_unit_calls_headrace_as_it_is() -> None:
    text = (ROOT / "deploy" / "systemd" / "headrace.service").read_text()
    calls = re.findall(r"^Exec\w+=/opt/headrace/bin/headrace (.+)$", text, re.MULTILINE)
    assert calls
    assert [unknown_words(shlex.split(call)) for call in calls] == [[]] * len(calls)
