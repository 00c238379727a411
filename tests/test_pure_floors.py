"""The pure floors have no clock, no chance of their own, no file and no socket."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "headrace"
PURE = ("fleet", "workload", "wire", "perf", "cost", "metrics", "modelserver", "policy", "sim")
MODULES = [SOURCE / name for name in ("errors.py", "units.py", "rng.py", "sums.py", "bucket.py")] + [
    path for package in PURE for path in sorted((SOURCE / package).rglob("*.py"))
]
FORBIDDEN_IMPORTS = {"asyncio", "io", "logging", "os", "pathlib", "secrets", "socket", "ssl", "subprocess", "sys"}
FORBIDDEN_IMPORTS |= {"threading", "time", "datetime", "uuid", "multiprocessing", "shutil", "tempfile", "uvloop"}
TYPES_ALLOWED = {"random": ["Random"], "datetime": ["date"]}
FORBIDDEN_CALLS = {"open", "print", "input", "hash"}


def faults(source: str) -> list[str]:
    """What a pure module may not do, found in its syntax tree.

    Of `random` only the type `Random` is allowed, of `datetime` only the type `date`, and not what day it is.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_IMPORTS | {"random"}]
        elif isinstance(node, ast.ImportFrom) and node.module:
            root = node.module.split(".")[0]
            names = [alias.name for alias in node.names]
            allowed = names == TYPES_ALLOWED.get(root)
            if root in FORBIDDEN_IMPORTS | {"random"} and not allowed:
                found.append(node.module)
        elif isinstance(node, ast.Attribute) and node.attr == "today":
            found.append("today")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(f"{node.func.id}()")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_pure_module_has_no_clock_chance_file_or_socket(path: Path) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from random import random",
        "import os.path",
        "open('x')",
        "from socket import socket",
        "import datetime",
        "from datetime import datetime",
        "from datetime import date\ndate.today()",
    ],
)
def test_the_check_finds_what_it_looks_for(source: str) -> None:
    assert faults(source)
