"""What a release is made of: a lock that covers every requirement, archives of the same bytes, an honest audit."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import tarfile
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINNED = re.compile(
    r"^(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[^\s;]+)[^\n]*(?P<rest>(?:\n    [^\n]*)*)", re.MULTILINE
)


def script(name: str) -> ModuleType:
    """A script of `release/`, as a module."""
    spec = importlib.util.spec_from_file_location(f"of_release_{name}", ROOT / "release" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def required() -> list[str]:
    """Of all extras, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]


@pytest.mark.parametrize("text", sorted(set(required())))
def test_the_lock_pins_every_requirement_within_its_bounds(text: str) -> None:
    wanted = Requirement(text)
    if wanted.name == "headrace":  # its own extra
        return
    pinned = {canonicalize_name(found["name"]): found["version"] for found in PINNED.finditer(LOCK)}
    assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)], prereleases=True), "make lock"


def test_everything_in_the_lock_is_pinned_by_hash_and_comes_from_no_place_of_its_own() -> None:
    entries = list(PINNED.finditer(LOCK))
    assert len(entries) == len(re.findall(r"^\w", LOCK, re.MULTILINE))
    assert [found["name"] for found in entries if "--hash=sha256:" not in found["rest"]] == []
    assert re.findall(r"^-.*|\S*(?:://|file:|/)\S*", re.sub(r"^ *# .*$", "", LOCK, flags=re.MULTILINE)) == []
    assert re.findall(r"# .*(?:://|(?<!\w)/).*", LOCK) == []


def sdist(path: Path, names: list[str], time_s: int, owner: str) -> Path:
    """An archive as a build tool might write it."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(f"x-1.0/{name}")
            entry.size, entry.mtime, entry.uname, entry.mode = len(name), time_s, owner, 0o640
            archive.addfile(entry, io.BytesIO(name.encode()))
    return path


def test_an_sdist_depends_on_its_files_and_the_commits_time_alone(tmp_path: Path) -> None:
    repack = script("release").repack
    one = sdist(tmp_path / "one.tar.gz", ["a", "b"], 1_000, "one")
    other = sdist(tmp_path / "other.tar.gz", ["b", "a"], 2_000, "other")
    for each in (one, other):
        repack(each, 1_700_000_000)
    assert one.read_bytes() == other.read_bytes()
    with tarfile.open(one) as archive:
        assert [(each.name, each.mode, each.mtime) for each in archive] == [
            ("x-1.0/a", 0o644, 1_700_000_000),
            ("x-1.0/b", 0o644, 1_700_000_000),
        ]
    repack(other, 1_700_000_001)
    assert one.read_bytes() != other.read_bytes()


def test_an_audit_that_asked_nobody_is_no_all_clear() -> None:
    verdict = script("audit").verdict
    clean, skipped = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}
    weak = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
    codes = [verdict(json.dumps({"dependencies": found}))[0] for found in ([clean], [clean, skipped], [skipped, weak])]
    assert codes == [0, 3, 1]
    assert verdict("")[0] == 3
    assert verdict(json.dumps({"dependencies": [weak]}))[1][0] == "c 2: PYSEC-1, fixed in 3"
