"""`headrace --version` says which build runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from headrace import __version__
from headrace.cli.build import build_of


def test_the_version_names_the_build(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = command("--version")
    assert (code, out) == (0, f"headrace {__version__} ({build_of()})\n")


def package(folder: Path) -> Path:
    (folder / "pkg" / "sub").mkdir(parents=True)
    for name in ("one.py", "sub/two.py", "sub/three.py"):
        (folder / "pkg" / name).touch()
        os.utime(folder / "pkg" / name, (1000.0, 1000.0))
    return folder / "pkg"


def test_a_build_without_extensions_is_pure_python(tmp_path: Path) -> None:
    found = build_of(package(tmp_path))
    assert (found.compiled, str(found)) == ([], "pure Python")


def test_an_extension_older_than_its_source_is_told(tmp_path: Path) -> None:
    folder = package(tmp_path)
    for name, at_s in (("one", 2000.0), ("sub/two", 990.0)):
        path = folder / f"{name}{EXTENSION_SUFFIXES[0]}"
        path.touch()
        os.utime(path, (at_s, at_s))
    found = build_of(folder)
    assert found.compiled == ["pkg.one", "pkg.sub.two"]
    assert found.stale == ["pkg.sub.two"]
    assert str(found) == "compiled, 2 modules, of which 1 are older than their source: make compiled"
