"""The pages say what is true: commands exist, links lead somewhere, reference pages are current."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from fenced import DOCS, PAGES, ROOT, WRITTEN, blocks, named, prose

from headrace.cli import app

LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
SHELL = re.compile(r"^(?:&&?|\||\d?>>?.*|;|\.\.\.|<)$")
SPAN = re.compile(r"`(headrace [^`]+)`", re.DOTALL)


def command_lines(text: str) -> Iterator[list[str]]:
    """Calls of a program, one a line, without what the shell does with them."""
    for line in text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        stop = next((n for n, word in enumerate(words) if SHELL.match(word)), None)
        if words[:stop]:
            yield words[:stop]


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


def missing(words: list[str]) -> list[str]:
    """What a call names that is not there: a command or an option of headrace, a target of make, an extra."""
    if words[0] == "headrace" and len(words) > 1:
        return unknown_words(words[1:])
    if words[0] == "make":
        return [
            word for word in words[1:] if not re.search(rf"^{word}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        ]
    if words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named_extras = re.findall(r"^headrace\[([\w,]+)\]$", words[2])
        return [each for extra in named_extras for each in extra.split(",") if each not in extras]
    return []


def calls(page: Path) -> Iterator[list[str]]:
    """Of its blocks, and of its sentences."""
    for block in blocks(page):
        if block.language == "bash":
            yield from command_lines(block.text)
    for span in SPAN.findall(prose(page)):
        yield from command_lines(" ".join(span.replace("\\|", " ").split()))


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_everything_that_a_command_on_a_page_names_exists(page: Path) -> None:
    assert {" ".join(words): found for words in calls(page) if (found := missing(words))} == {}


def test_what_does_not_exist_is_found() -> None:
    assert missing(["headrace", "serv", "fleet.toml"]) == ["serv"]
    assert missing(["headrace", "serve", "--worker", "4"]) == ["--worker"]
    assert missing(["make", "test", "nothing"]) == ["nothing"]
    assert missing(["pip", "install", "headrace[envoy,nothing]"]) == ["nothing"]


def anchors(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower()) for title in found}


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_every_internal_link_leads_somewhere(page: Path) -> None:
    lost = []
    for found in LINK.finditer(prose(page)):
        target, _, anchor = found["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            lost.append(found["target"])
    assert lost == []


def test_every_page_is_in_the_navigation() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = set(re.findall(r"[\w/-]+\.md", str(site["nav"])))
    assert {str(page.relative_to(DOCS)) for page in PAGES if page.parent.name != "decisions"} == listed


def test_the_unit_calls_headrace_as_it_is() -> None:
    text = (ROOT / "deploy" / "systemd" / "headrace.service").read_text()
    calls = re.findall(r"^Exec\w+=/opt/headrace/bin/headrace (.+)$", text, re.MULTILINE)
    assert calls
    assert [unknown_words(shlex.split(call)) for call in calls] == [[]] * len(calls)
