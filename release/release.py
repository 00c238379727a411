"""What is published, into `dist/`: sdist and wheel to the same bytes from the same commit, bill of materials, sums.

The time in every archive is that of the commit, by SOURCE_DATE_EPOCH. setuptools heeds it in wheels alone, so the sdist
is packed anew: entries sorted, one owner, two modes. What builds is taken from `requirements.lock`, by hash.
Source: https://reproducible-builds.org/specs/source-date-epoch/.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
LOCK = ROOT / "requirements.lock"
TOOLS = Path(sys.executable).parent


def repack(sdist: Path, time_s: int) -> None:
    """The same files in an archive that depends on their names and content alone, and on `time_s` (Unix time)."""
    with tarfile.open(sdist) as archive:
        entries = [(each, archive.extractfile(each)) for each in archive.getmembers() if each.isfile()]
        packed = [(each.name, each.mode & 0o100, found.read()) for each, found in entries if found is not None]
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, executable, content in sorted(packed):
            _add(archive, name, content, 0o755 if executable else 0o644, time_s)
    sdist.write_bytes(gzip.compress(tar.getvalue(), 9, mtime=time_s))


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int, time_s: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), mode, time_s
    archive.addfile(entry, io.BytesIO(content))


def sums(folder: Path) -> str:
    """The SHA-256 of every file of a folder, in the form that `sha256sum --check` reads."""
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], cwd=ROOT, check=True)


def _commit_time_s() -> int:
    """Unix time of the commit. Raises SystemExit: what is in the tree is not the commit."""
    if subprocess.check_output(["git", "status", "--porcelain"], cwd=ROOT, text=True).strip():
        raise SystemExit("release: there are changes that are not committed; commit them, for a release is a commit")
    return int(subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=ROOT, text=True))


def main() -> None:
    """Build everything that a release is."""
    time_s = _commit_time_s()
    os.environ["SOURCE_DATE_EPOCH"] = str(time_s)
    os.umask(0o022)  # a wheel keeps the modes of the files it is made of
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # the wheel would take in what is left there
    locked = ("--build-constraints", LOCK, "--require-hashes", "--out-dir", DIST, "--no-create-gitignore", "--quiet")
    _run(TOOLS / "uv", "build", "--sdist", *locked)
    (sdist,) = DIST.glob("*.tar.gz")
    repack(sdist, time_s)
    _run(TOOLS / "uv", "build", "--wheel", *locked, sdist)
    _run(TOOLS / "twine", "check", "--strict", sdist, *DIST.glob("*.whl"))
    bill = DIST / f"{sdist.name.removesuffix('.tar.gz')}.cdx.json"
    about = ("--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--output-format", "JSON")
    _run(TOOLS / "cyclonedx-py", "requirements", LOCK, *about, "--output-file", bill)
    (DIST / "SHA256SUMS").write_text(sums(DIST), encoding="utf-8")
    print(sums(DIST), end="")


if __name__ == "__main__":
    main()
