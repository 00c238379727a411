"""`headrace validate`: scores as a table and as JSON; one section needs no data; the package starts without scipy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., tuple[int, str, str]]


def test_published_speeds_need_no_data(command: Command) -> None:
    code, out, _ = command("validate", "--only", "sram", "--data", "nowhere")
    assert code == 0
    for word in ("Cerebras", "Groq", "SambaNova", "14 parameters, 32 points", "release drift", "excluded: "):
        assert word in out


def test_json_holds_scores_and_every_row(command: Command) -> None:
    code, out, _ = command("validate", "--only", "sram", "--json", "-")
    assert code == 0
    (section,) = json.loads(out)["sections"]
    assert (section["name"], section["parameters"], len(section["rows"])) == ("sram", 14, 32 + 32 + 21)
    assert {"median_error", "p90_error", "bias", "inside"} <= set(section["scores"][0])


def test_plot_writes_a_page_with_every_point_that_no_fit_had_seen(command: Command, tmp_path: Path) -> None:
    code, _, err = command("validate", "--only", "sram", "--plot", "page.html")
    assert code == 0
    assert f"{32 + 21} points in page.html" in err
    assert "WSE-3" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_section_that_does_not_exist_says_which_do(command: Command) -> None:
    code, _, err = command("validate", "--only", "srams")
    assert code == 2
    assert "sram, neuron, fleets, requests" in err


def test_missing_data_is_named(command: Command) -> None:
    code, _, err = command("validate", "--only", "fleets", "--data", "nowhere")
    assert code == 2
    assert "published_throughput.csv" in err


def test_nothing_but_a_fit_imports_scipy() -> None:
    code = "import sys, headrace.cli, headrace.perf, headrace.cli.validate, headrace.bench; "
    code += "sys.exit('scipy' in sys.modules or 'plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
