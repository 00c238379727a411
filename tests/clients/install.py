"""Install the clients of `versions.toml`, each into an environment of its own, and say which cannot be had.

    python tests/clients/install.py [CLIENT]

With the name of a client that comes from npm: print where its program is, if it could be had, and install nothing.

The environments are kept in `~/.cache/headrace-clients` (or `HEADRACE_CLIENTS`), under a name made of what is in
them, so that a second run installs nothing. Whatever cannot be installed leaves its reason there, and its tests are
skipped with it; a later run tries again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

VERSIONS: dict[str, Any] = tomllib.loads((Path(__file__).parent / "versions.toml").read_text())
CLIENTS: dict[str, dict[str, list[str]]] = VERSIONS["clients"]
CACHE = Path(os.environ.get("HEADRACE_CLIENTS", Path.home() / ".cache" / "headrace-clients"))
NEWEST = VERSIONS["newest"].isoformat()
DONE, REASON = ".done", ".reason"
TIMEOUT_S = 300.0


def folder_of(name: str) -> Path:
    """Where a client's environment is, or will be."""
    made_of = repr((sorted(CLIENTS[name].items()), NEWEST, sys.version_info[:2]))
    return CACHE / f"{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def main() -> None:
    """Install what is not there yet."""
    uv = _uv()
    for name in CLIENTS:
        folder = folder_of(name)
        if (folder / DONE).exists():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        reason = _install(folder, CLIENTS[name], uv)
        (folder / (REASON if reason else DONE)).write_text(reason)
        print(f"{name}: {reason or 'installed'}", flush=True)


def _uv() -> str:
    """The installer of Python packages, which is a Python package, too."""
    folder = CACHE / f"uv-{VERSIONS['uv']}"
    binary = folder / "bin" / "uv"
    if not binary.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", f"uv=={VERSIONS['uv']}"], check=True)
    return str(binary)


def _install(folder: Path, packages: dict[str, list[str]], uv: str) -> str:
    """Install into an empty folder; the reason why it failed, or nothing."""
    python = ["--quiet", "--python", sys.executable]
    commands = []
    if "pip" in packages:
        commands.append([uv, "venv", "--allow-existing", *python, str(folder)])
        target = ["--python", str(folder / "bin" / "python"), "--exclude-newer", NEWEST]
        commands.append([uv, "pip", "install", "--quiet", *target, *packages["pip"]])
    if "npm" in packages:
        quiet = ["--no-audit", "--no-fund", "--no-progress", "--loglevel=error"]
        commands.append(["npm", "install", *quiet, f"--before={NEWEST}", "--prefix", str(folder), *packages["npm"]])
    for command in commands:
        reason = _run(command)
        if reason:
            return reason
    return ""


def _run(command: list[str]) -> str:
    try:
        ended = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if ended.returncode == 0 else ended.stdout[-600:].strip() or f"{command[0]} failed"


def _program(name: str) -> str:
    program = folder_of(name) / "node_modules" / ".bin" / name
    return str(program) if program.exists() else ""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(_program(sys.argv[1]))
    else:
        main()
