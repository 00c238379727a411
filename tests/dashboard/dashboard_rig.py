"""A live system as `headrace up` makes it, at rest after some traffic, and a browser that may talk to it alone."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headrace.config import sample_fleet_text

PROMISES = """
[commitments.fast]
pools = ["cerebras"]
usd = 1000.0
per = "month"

[budgets.batch]
usd = 500.0
per = "month"
"""


class Live:
    """A running `headrace up`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        """JSON from the admin port."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def metric(self, name: str) -> float:
        """Sum of all series of a metric."""
        with urllib.request.urlopen(f"{self.url}metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition("{")[0].partition(" ")[0] == name)


@contextmanager
def live_system(directory: Path, seconds: float) -> Iterator[Live]:
    """`headrace up` over the sample fleet with a commitment and a budget, when its traffic has ended."""
    fleet = directory / "fleet.toml"
    fleet.write_text(sample_fleet_text() + PROMISES)
    command = [sys.executable, "-m", "headrace.cli", "up", str(fleet), "--seconds", str(seconds), "--seed", "3"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--admin-port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
    )
    try:
        assert process.stderr is not None
        url, said = "", []
        for line in process.stderr:
            said.append(line)
            if "dashboard: " in line:
                url = line.partition("dashboard: ")[2].strip()
            if "still up" in line:
                break
        assert url, said
        yield Live(url)
    finally:
        process.terminate()
        process.communicate(timeout=60)


class Watched:
    """A page, what it complained of, and the hosts that it talked to."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self._host = urlsplit(url).netloc
        page.on("console", lambda said: self.faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.route("**/*", self._route)
        page.goto(url)
        page.wait_for_selector("body[data-at]")

    def _route(self, route: Any) -> None:
        if urlsplit(route.request.url).netloc == self._host:
            route.continue_()
        else:
            self.faults.append(f"asked {route.request.url}")
            route.abort()

    def text(self, selector: str) -> str:
        """What is written there."""
        found: str = self.page.inner_text(selector)
        return found
