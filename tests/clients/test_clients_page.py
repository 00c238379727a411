"""The page of the clients names every client that is tested, with its version."""

from __future__ import annotations

import re
from pathlib import Path

from install import CLIENTS

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
TRIED, _, TOLD = PAGE.partition("## How to point them")
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (.+?) \|", TRIED, re.MULTILINE))


def spelled(package: str) -> str:
    """A package and its version as the page has them."""
    name, _, version = package.replace("==", "@").rpartition("@")
    return f"{name} {version}"


def test_every_client_has_its_row_with_the_version_that_is_installed() -> None:
    installed = {name: [each for group in kinds.values() for each in group] for name, kinds in CLIENTS.items()}
    assert {name: ", ".join(map(spelled, packages)) for name, packages in installed.items()} == ROWS


def test_every_client_is_told_how_to_point_at_headrace() -> None:
    assert [name for name in CLIENTS if f"`{name}`" not in TOLD] == ["llama-cpp"], "which is no client"
