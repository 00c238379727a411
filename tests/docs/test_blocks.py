"""Every fenced block of a page is run, or read by what reads such files, or says why not; and nothing slips by."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fenced import DOCS, GENERATED, ROOT, WRITTEN, Block, blocks, named

from headrace.config import load_incidents, parse_fleet
from headrace.config.build import build_fleet
from headrace.emulate.script import read_script

HERE = Path(__file__).parent
PORTS = ("8080", "8081", "18301", "18302")
RUN = {page for page in WRITTEN for block in blocks(page) if block.language in ("bash", "python") and not block.not_run}
A_GATEWAY = "headrace up --seconds 0 &\nuntil curl -sf http://127.0.0.1:8080/health/ready; do sleep 0.5; done\n"
BESIDE_A_GATEWAY = {DOCS / "requests.md"}


def of_language(language: str) -> list[Any]:
    found = [block for page in WRITTEN for block in blocks(page) if block.language == language]
    return [pytest.param(block, id=f"{named(block.page)}-{number}") for number, block in enumerate(found)]


def merged(one: Any, other: Any) -> Any:
    """Two documents as one: tables by their names, arrays of tables one after the other."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{name: merged(one[name], value) if name in one else value for name, value in other.items()}}
    if isinstance(one, list) and isinstance(other, list) and all(isinstance(each, dict) for each in other):
        return one + other
    return other


def read_part_of_a_fleet(document: dict[str, Any], folder: Path) -> None:
    """A whole fleet file in which the tables of a block are as the block says. Raises ConfigError."""
    whole = merged(tomllib.loads((HERE / "around.toml").read_text(encoding="utf-8")), document)
    shutil.copy(HERE / "my-endpoint.toml", folder)
    build_fleet(whole, "block", folder)


def read_faults(text: str, folder: Path) -> None:
    """A fault file, for the sample fleet. Raises ConfigError."""
    file = folder / "faults.toml"
    file.write_text(text, encoding="utf-8")
    fleet = parse_fleet((HERE / "around.toml").read_text(encoding="utf-8"), "around.toml")
    assert load_incidents(file, fleet)


@pytest.mark.parametrize("block", of_language("toml"))
def test_every_toml_block_is_a_part_of_a_file_that_headrace_reads(block: Block, tmp_path: Path) -> None:
    document = tomllib.loads(block.text)
    if "project" in document:  # of somebody's package: tests/cli installs it
        assert "headrace.policies" in document["project"]["entry-points"]
    elif "faults" in document:
        read_faults(block.text, tmp_path)
    else:
        read_part_of_a_fleet(document, tmp_path)


@pytest.mark.parametrize("block", of_language("json"))
def test_every_json_block_is_a_script_for_the_emulator(block: Block) -> None:
    assert read_script(block.text.encode())


@pytest.mark.parametrize("block", of_language("yaml"))
def test_every_yaml_block_scrapes_what_serves_metrics(block: Block) -> None:
    (job,) = yaml.safe_load(block.text)["scrape_configs"]
    assert job == {"job_name": "headrace", "static_configs": [{"targets": [f"127.0.0.1:{PORTS[1]}"]}]}


def free_ports() -> Callable[[str], str]:
    """Puts free ports in the place of those that the pages name."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        free = {port: str(each.getsockname()[1]) for port, each in zip(PORTS, sockets, strict=True)}
    return lambda text: re.sub(rf"\b(?:{'|'.join(PORTS)})\b", lambda found: free[found[0]], text)


def session(page: Path) -> Iterator[str]:
    """What a reader would type who follows the page."""
    if page in BESIDE_A_GATEWAY:
        yield A_GATEWAY
    for block in blocks(page):
        if block.not_run is None and block.language == "bash":
            yield block.text
        elif block.not_run is None and block.language == "python":
            yield f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK\n"


def on(ports: Callable[[str], str], script: str) -> str:
    """The session with its ports; those that a command takes by default are said."""
    for command in ("headrace serve fleet.toml", "headrace doctor fleet.toml", "headrace up"):
        script = script.replace(command, f"{command} --port {PORTS[0]} --admin-port {PORTS[1]}")
    return ports(script)


@pytest.mark.parametrize("page", sorted(RUN), ids=named)
def test_the_commands_of_a_page_run_in_one_session(page: Path, tmp_path: Path) -> None:
    ports = free_ports()
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    first = tmp_path / "examples" / "first-steps.toml"
    first.write_text(ports(first.read_text(encoding="utf-8")), encoding="utf-8")
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", on(ports, "\n".join(session(page)))],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=(tmp_path / "out").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        code = process.wait(timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing was left in the background
            os.killpg(process.pid, signal.SIGTERM)
    assert code == 0, (tmp_path / "out").read_text()


READ = {"toml", "json", "yaml", "python", "bash", "sql"}  # sql: tests/ledger, the only one


def unread(block: Block) -> bool:
    """Whether nothing looks at it and it gives no reason."""
    generated = block.page.read_text(encoding="utf-8").startswith(GENERATED)
    return block.language not in READ and block.not_run is None and not generated


def test_every_block_is_looked_at_or_says_why_not() -> None:
    assert [f"{named(page)}: {block.text[:40]!r}" for page in WRITTEN for block in blocks(page) if unread(block)] == []
    assert [named(block.page) for page in WRITTEN for block in blocks(page) if block.language == "sql"] == [
        "docs/ledger.md"
    ]


def test_a_block_that_nothing_knows_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```\nx\n```\n\n<!-- not run: output -->\n~~~text\ny\n~~~\n\n```bash\nz\n```\n")
    assert [unread(block) for block in blocks(page)] == [True, False, False]


def test_a_reason_is_more_than_a_word() -> None:
    reasons = [block.not_run for page in WRITTEN for block in blocks(page) if block.not_run is not None]
    assert [reason for reason in reasons if len(reason) < len("output")] == []
