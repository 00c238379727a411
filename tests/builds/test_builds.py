"""The interpreted and the compiled build give the same bytes: reports, journals, and each verifies the other's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import headrace
from headrace.cli.build import build_of

RECORDED = Path(__file__).with_name("recorded.py")
VERIFIED = ("usual", "static", "faults", "limits")  # one engine, and the fleet as its file says


class Built:
    """One build, and what it recorded."""

    def __init__(self, source: Path, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._source = source
        self.says = self.python(str(RECORDED), str(folder)).stdout.strip()

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(self._source)}
        return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Built]:
    """(interpreted, compiled)."""
    package = Path(headrace.__file__).parent
    if not build_of().compiled:
        if os.environ.get("HEADRACE_REQUIRE_COMPILED"):
            pytest.fail("no module is compiled: make compiled")
        pytest.skip("no module is compiled: there is one build to compare (make test-compiled)")
    folder = tmp_path_factory.mktemp("builds")
    suffixes = [f"*{suffix}" for suffix in EXTENSION_SUFFIXES]
    shutil.copytree(package, folder / "src" / "headrace", ignore=shutil.ignore_patterns(*suffixes))
    return Built(folder / "src", folder / "interpreted"), Built(package.parent, folder / "compiled")


def test_one_is_interpreted_and_the_other_compiled(builds: tuple[Built, Built]) -> None:
    interpreted, compiled = builds
    assert interpreted.says == "pure Python"
    assert compiled.says == str(build_of())
    assert compiled.says.startswith("compiled")


def test_both_builds_write_the_same_bytes(builds: tuple[Built, Built]) -> None:
    interpreted, compiled = builds
    names = sorted(path.name for path in interpreted.folder.iterdir())
    assert names == sorted(path.name for path in compiled.folder.iterdir())
    assert len(names) > 2
    differ = [n for n in names if (interpreted.folder / n).read_bytes() != (compiled.folder / n).read_bytes()]
    assert differ == []


@pytest.mark.parametrize("name", VERIFIED)
def test_each_build_verifies_what_the_other_recorded(builds: tuple[Built, Built], name: str) -> None:
    for here, other in (builds, builds[::-1]):
        done = here.python("-m", "headrace.cli", "journal", "verify", str(other.folder / f"{name}.journal"))
        assert "identical actions" in done.stderr
