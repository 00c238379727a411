"""Fixtures of the dashboard's tests: one system and one browser for all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dashboard_rig import Live, Watched, live_system

SECONDS = 12.0
PATIENCE_MS = 120_000  # a browser on a busy machine


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A system at rest after some traffic."""
    with live_system(tmp_path_factory.mktemp("live"), SECONDS) as found:
        yield found


@pytest.fixture(scope="module")  # its event loop must be gone before another module's tests begin theirs
def browser() -> Iterator[Any]:
    """Chromium; absent, a test is skipped, except where it is required."""
    path = shutil.which("chromium")
    if path is None:
        reason = "no chromium: install Debian's package chromium"
        if os.environ.get("HEADRACE_REQUIRE_CHROMIUM"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        arguments = ["--no-sandbox", "--disable-gpu"]
        found = play.chromium.launch(executable_path=path, args=arguments, timeout=PATIENCE_MS)
        yield found
        found.close()


@pytest.fixture
def look(browser: Any, live: Live) -> Iterator[Callable[..., Watched]]:
    """Opens the page; at the end it must have complained of nothing and asked nobody else."""
    opened: list[tuple[Any, Watched]] = []

    def open_page(width: int = 1440, scheme: str = "light") -> Watched:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE_MS)
        watched = Watched(context.new_page(), live.url)
        opened.append((context, watched))
        return watched

    yield open_page
    for context, watched in opened:
        faults = list(watched.faults)
        context.close()
        assert faults == []
