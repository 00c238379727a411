"""`headrace study sweep`: from a grid file to a table and a page; a grid that would take days is refused first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

Command = Callable[..., tuple[int, str, str]]

GRID = """
schema = 1
policies = ["prices"]
references = ["gpu_only"]
shares = [0, 0.1]
[traffic]
generate_s = 5
"""


def test_a_sweep_writes_table_page_and_payoffs(command: Command, tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    code, out, err = command("study", "sweep", "grid.toml", "--workers", "1", "--report", "p.html", "--json", "-")
    assert (code, pl.read_parquet(tmp_path / "grid-study" / "study.parquet").height) == (0, 3)
    payoffs = json.loads(out)["payoffs"]
    assert [each["policy"] for each in payoffs] == ["prices"]
    assert (tmp_path / "p.html").read_text().startswith("<!doctype html>")
    assert "3 of 3 points" in err
    assert "wall" in (tmp_path / "grid-study" / "timing.jsonl").read_text()
    code, out, err = command("study", "sweep", "grid.toml", "--workers", "1")
    assert (code, "3 of 3 points are finished already" in err) == (0, True)
    assert "next percent stops paying" in out


def test_a_grid_of_a_million_points_is_refused_before_anything_runs(command: Command, tmp_path: Path) -> None:
    values = ", ".join(str(i) for i in range(1, 1001))
    seeds = ", ".join(str(i) for i in range(400))
    axis = f'[set]\n"classes.chat.timeout_s" = [{values}]\n'
    (tmp_path / "grid.toml").write_text(GRID.replace("[traffic]", f"seeds = [{seeds}]\n[traffic]") + axis)
    code, out, err = command("study", "sweep", "grid.toml")
    assert (code, out) == (2, "")
    assert "1,200,000 points, and --max-points is 10,000" in err
    assert "requests/s" in err
    assert any(unit in err for unit in ("minutes", "hours", "days"))
    assert "set.classes.chat.timeout_s has 1,000 values" in err
    assert "--max-points 1200000" in err
    assert not (tmp_path / "grid-study").exists()


def test_traces_of_the_command_line_take_the_place_of_the_grids(command: Command, tmp_path: Path) -> None:
    lines = "".join(f"2023-11-16 18:00:{i:02}.0,100,5\n" for i in range(60))
    (tmp_path / "t.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + lines)
    (tmp_path / "grid.toml").write_text(GRID.replace("generate_s = 5", 'traces = ["chat=nowhere.csv"]'))
    code, _, err = command("study", "sweep", "grid.toml", "--workers", "1")
    assert (code, "traffic.traces chat=nowhere.csv" in err or "nowhere.csv: cannot be opened" in err) == (2, True)
    code, _, _ = command("study", "sweep", "grid.toml", "--workers", "1", "--trace", "chat=t.csv")
    assert code == 0
    assert set(pl.read_parquet(tmp_path / "grid-study" / "study.parquet")["requests"]) == {60}
    (tmp_path / "t.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + lines.replace(",5", ",6"))
    code, _, err = command("study", "sweep", "grid.toml", "--workers", "1", "--trace", "chat=t.csv")
    assert (code, "begun with another trace of chat" in err) == (2, True)


def test_the_example_grid_reads(command: Command, examples_dir: Path, tmp_path: Path) -> None:
    lines = "".join(f"2023-11-16 18:{i // 60:02}:{i % 60:02}.0,100,5\n" for i in range(400))
    (tmp_path / "t.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + lines)
    traces = ("--trace", f"chat={tmp_path / 't.csv'}", "--trace", f"coding={tmp_path / 't.csv'}")
    code, _, err = command("study", "sweep", str(examples_dir / "study-share.toml"), "--max-points", "1", *traces)
    assert (code, "145 points, and --max-points is 1" in err) == (2, True)


def test_the_example_grid_of_sessions_reads(command: Command, examples_dir: Path, tmp_path: Path) -> None:
    turn = {"t": 0.0, "type": "n", "in": 128, "out": 7, "hash_ids": [1, 2]}
    session = {"id": "s", "models": [], "block_size": 64, "hash_id_scope": "local", "requests": [turn]}
    (tmp_path / "s.json").write_text(json.dumps(session))
    trace = ("--trace", f"agent={tmp_path / 's.json'}")
    code, _, err = command("study", "sweep", str(examples_dir / "study-agents.toml"), "--max-points", "1", *trace)
    assert (code, "168 points, and --max-points is 1" in err) == (2, True)
    assert "has no clock: sessions start as a Poisson process, 0.1 per second" in err
