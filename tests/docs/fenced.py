"""The fenced blocks of the pages, each with the marker before it that says why it is not run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
WRITTEN = [*PAGES, *sorted(ROOT.glob("*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+|~~~+)(?P<language>[^\n]*)\n(?P<text>.*?)^ *(?P=fence) *$", re.M | re.S
)
NOT_RUN = re.compile(r"<!-- not run: (?P<why>.+?) -->\s*$")
GENERATED = "<!-- Written by docs/reference/generate.py"


class Block(NamedTuple):
    """One of them; `not_run` is the reason that its page gives."""

    page: Path
    language: str
    text: str
    not_run: str | None


def blocks(page: Path) -> Iterator[Block]:
    """Those of a page, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        marked = NOT_RUN.search(text[: found.start()])
        yield Block(page, found["language"].strip(), found["text"], marked["why"] if marked else None)


def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def named(page: Path) -> str:
    """Its path, for a reader."""
    return str(page.relative_to(ROOT))
