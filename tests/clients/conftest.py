"""Every test here has real clients, and the mark that keeps it out of the default run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import Served, served

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("clients")


@pytest.fixture(scope="session", name="running")
def running_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a user who has nothing yet."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
