"""`headrace plan`: a plan as tables, JSON, a fleet file and a page; what cannot be planned is answered in words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "study"))
from plan_rig import SCENARIO

from headrace.config import load_fleet
from headrace.metrics import Report
from headrace.policy import PRICES
from headrace.study import simulate_and_compare
from headrace.workload import Request

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.toml").write_text(SCENARIO)
    return tmp_path


def test_a_plan_is_shown_written_and_simulates(command: Command, folder: Path) -> None:
    code, out, err = command("plan", "s.toml", "--json", "p.json", "--fleet", "f.toml", "--threads", "1")
    assert code == 0
    assert "Total cost of ownership over 1 year" in out
    assert "the mix" in out
    assert "simulating busiest hours" in err
    found = json.loads((folder / "p.json").read_text())
    assert (found["schema"], found["command"], found["proof"]["verdict"]) == (1, "plan", "kept")
    text = (folder / "f.toml").read_text()
    assert text.startswith("# Written by `headrace plan`: small.")
    assert "the controller goes on from here" in text
    assert command("check", "f.toml")[0] == 0
    assert _simulated(folder / "f.toml").requests.completed == 20


def _simulated(path: Path) -> Report:
    fleet = load_fleet(path)
    requests = [Request(0.5 * n, "chat", 500, 100, "llama-3.1-8b") for n in range(20)]
    return simulate_and_compare(fleet, lambda: requests, PRICES, 0)


def test_standard_output_is_the_json_alone(folder: Path) -> None:
    """A process of its own: the solver greets on the standard output that no test can replace."""
    ran = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "plan", "s.toml", "--json", "-", "--no-proof", "--threads", "1"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    assert json.loads(ran.stdout)["proof"]["verdict"] == "not proven"


def test_a_report_is_one_page(command: Command, folder: Path) -> None:
    small = SCENARIO.replace("futures = 3", "futures = 1")
    (folder / "s.toml").write_text(small)
    code, _, err = command(
        *(
            "plan",
            "s.toml",
            "--report",
            "r.html",
            "--no-proof",
            "--threads",
            "1",
            "--study-limit",
            "2",
            "--json",
            "p.json",
        )
    )
    assert code == 0
    assert (folder / "r.html").read_text().startswith("<!doctype html>")
    assert "wrote r.html" in err


def test_a_scenario_that_conflicts_is_answered_with_its_own_words(command: Command, folder: Path) -> None:
    rule = '[[constraints]]\ntype = "budget"\nname = "pocket money"\nmax_usd = 10.0\nreason = "all that is left"\n'
    (folder / "s.toml").write_text(SCENARIO.replace("[uncertainty]", f"{rule}\n[uncertainty]"))
    code, out, err = command("plan", "s.toml", "--no-proof", "--threads", "1")
    assert (code, out) == (2, "")
    assert "no plan" in err
    assert "pocket money" in err
    assert "all that is left" in err


def test_a_broken_scenario_is_answered_before_anything_is_solved(command: Command, folder: Path) -> None:
    (folder / "s.toml").write_text(
        SCENARIO.replace('terms = ["spot"]', 'terms = ["sport"]').replace("years = 1", "years = 0")
    )
    code, _, err = command("plan", "s.toml")
    assert code == 2
    assert "candidates.rent.terms" in err
    assert "horizon.years" in err
    assert "solving" not in err


def test_two_plans_are_compared(command: Command, folder: Path) -> None:
    (folder / "t.toml").write_text(SCENARIO.replace("usd_per_hour = 2.0", "usd_per_hour = 4.0"))
    command("plan", "s.toml", "--json", "s.json", "--no-proof", "--threads", "1")
    code, out, _ = command("study", "compare", "s.json", "t.toml", "--json", "c.json")
    assert code == 0
    assert "total cost of ownership" in out
    found = json.loads((folder / "c.json").read_text())
    change = {(each["name"], each["figure"]): each["change"] for each in found["differences"]}
    assert change["", "total cost of ownership"] > 0.0


def test_what_is_no_plan_is_not_compared(command: Command, folder: Path) -> None:
    (folder / "x.json").write_text("{}")
    code, _, err = command("study", "compare", "x.json", "x.json")
    assert code == 2
    assert "headrace plan --json" in err


def test_a_demand_that_names_no_trace_is_refused(command: Command, folder: Path) -> None:
    code, _, err = command("plan", "s.toml", "--demand", "chat")
    assert code == 2
    assert "CLASS=TRACE" in err


def test_fleet_and_traffic_of_a_period_are_written_and_simulate(command: Command, folder: Path) -> None:
    asked = ("plan", "s.toml", "--no-proof", "--threads", "1", "--period", "2027 12:00")
    code, _, err = command(*asked, "--fleet", "f.toml", "--traffic", "t", "--seconds", "20")
    assert code == 0
    assert "chat.jsonl" in err
    traces = ("--trace", "chat=t/chat.jsonl", "--trace", "batch=t/batch.jsonl")
    code, out, _ = command("simulate", "f.toml", *traces, "--json", "-")
    assert code == 0
    written = [len((folder / "t" / f"{name}.jsonl").read_text().splitlines()) for name in ("chat", "batch")]
    assert min(written) > 0
    assert json.loads(out)["requests"]["completed"] == sum(written)


def test_an_unknown_period_is_answered_with_those_there_are(command: Command, folder: Path) -> None:
    code, _, err = command("plan", "s.toml", "--no-proof", "--threads", "1", "--period", "lunch")
    assert code == 2
    assert "--period: 'lunch' is none; there are: 2027 00:00, 2027 12:00" in " ".join(err.split())
