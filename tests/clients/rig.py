"""Real clients against a real headrace: `headrace serve` in front of `headrace emulate`, all on loopback.

A client is a program in an environment of its own (`install.py`). It is run as its user would run it, in an empty
home, and judged by what it prints, how it exits and what it leaves on the disk.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from install import CLIENTS, DONE, REASON, folder_of

from headrace.ledger import Entry, read_ledger

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
PASSED, ONLY_CHAT, ONLY_MESSAGES = "glm-4.6", "gpt-oss-120b", "minimax-m2"
TIMEOUT_S = 120.0
KEY = "client-key"
BROKEN = ("cut", "polite")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
NOWHERE = "http://127.0.0.1:9"  # the proxy of everything that is not on this machine
KEPT_FROM_CLIENTS = ("PYTHONPATH", "VIRTUAL_ENV", "OPENAI_", "ANTHROPIC_", "CLAUDE", "NODE_OPTIONS")


class Ended(NamedTuple):
    """How a client ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON; it must have ended well."""
        assert self.code == 0, self.err + self.out
        return json.loads(self.out)


class Client:
    """An installed client."""

    def __init__(self, name: str) -> None:
        """Skips the test where the client could not be installed."""
        self.name = name
        self.packages = [package for packages in CLIENTS[name].values() for package in packages]
        self.folder = folder_of(name)
        if not (self.folder / DONE).exists():
            reason = self.folder / REASON
            why = reason.read_text() if reason.exists() else "run `make clients`"
            pytest.skip(f"{', '.join(self.packages)} cannot be had: {why}")

    def binary(self, name: str) -> str:
        """A command of the client's."""
        place = "node_modules/.bin" if "npm" in CLIENTS[self.name] else "bin"
        return str(self.folder / place / name)

    def program(self, file: str, *arguments: str, home: Path) -> Ended:
        """Run one of our programs that use it as a library."""
        if file.endswith(".mjs"):
            code = (PROGRAMS / file).read_text()
            return run(["node", "--input-type=module", "--eval", code, *arguments], home=home, work=self.folder)
        return run([self.binary("python"), str(PROGRAMS / file), *arguments], home=home, work=home)


def run(command: list[str], *, home: Path, work: Path, **environment: str) -> Ended:
    """Run a client to its end; it knows no home and no keys but these, and reaches nothing but this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(KEPT_FROM_CLIENTS)}
    kept |= {
        "PWD": str(work),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "NO_COLOR": "1",
        "DO_NOT_TRACK": "1",
    }
    kept |= dict.fromkeys(PROXIES, NOWHERE)
    kept |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    process = subprocess.Popen(
        command,
        cwd=work,
        env={**kept, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, err = process.communicate()
        raise AssertionError(f"{command} did not end:\n{out[-2000:]}\n{err[-2000:]}") from None
    return Ended(process.returncode, out, err)


class Served:
    """A running gateway.

    Attributes:
        url: where it serves, without `/v1`.
        backends: where its emulated backends are, by name.
    """

    def __init__(self, url: str, backends: dict[str, str], ledger: Path) -> None:
        self.url = url
        self.backends = backends
        self._ledger = ledger
        self._read = 0

    def say(self, *steps: dict[str, Any]) -> None:
        """What the models say from now on, turn by turn; and nothing goes wrong any more."""
        self._tell("script", list(steps))
        self.go_wrong()
        self.attempts()

    def go_wrong(self, *faults: str) -> None:
        """What is to go wrong with the next requests, one each (docs/emulator.md)."""
        self._tell("faults", list(faults))

    def attempts(self) -> list[Entry]:
        """What was asked of backends since the last time, as the ledger has it."""
        entries = list(read_ledger(self._ledger))
        new, self._read = entries[self._read :], len(entries)
        return new

    def _tell(self, what: str, body: object) -> None:
        for backend in self.backends.values():
            request = urllib.request.Request(f"{backend}/emulated/{what}", json.dumps(body).encode())
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()


@contextmanager
def command(folder: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """A `headrace` command that runs for a while; gives what it writes as its result."""
    line = [sys.executable, "-m", "headrace.cli", *arguments, "--json", "-"]
    with (folder / f"{arguments[0]}.log").open("w") as log:
        process = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        yield json.loads("".join(_until_brace(process.stdout)))
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
        process.stdout.close()


def _until_brace(lines: Iterable[str]) -> Iterator[str]:
    """A JSON document of several lines."""
    for line in lines:
        yield line
        if line.startswith("}"):
            return


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """`fleet.toml` emulated, and served."""
    fleet = folder / "fleet.toml"
    text = (HERE / "fleet.toml").read_text()
    for name in ("PORT0", "PORT1", "PORT2"):
        text = text.replace(name, str(free_port()))
    fleet.write_text(text)
    with (
        command(folder, "emulate", str(fleet)) as emulated,
        command(folder, "serve", str(fleet), "--port", "0", "--admin-port", "0") as found,
    ):
        yield Served(found["url"].removesuffix("/v1"), emulated["backends"], folder / found["ledger"])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
