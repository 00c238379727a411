"""A sweep over sessions: whole tasks are drawn by seed, their time is reported, and nothing is said of hindsight."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from sweep_rig import small_grid

from headrace.errors import ConfigError
from headrace.study import simulate_and_compare
from headrace.study.sweep import Grid, Row, about, check_traffic, parquet, run_sweep, sweep_page
from headrace.study.sweep.policies import policy_named
from headrace.study.sweep.traffic import open_traffic
from headrace.study.sweep.variant import point_fleet

HEAD = "session_id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n"
GRID = """
schema = 1
fleets = ["fleet.toml"]
policies = ["prices"]
references = ["gpu_only"]
shares = [0, 0.2]
seeds = [0, 1]

[traffic]
traces = ["coding=rounds.csv"]
rate_per_s = 0.5
resample_tasks = true
"""


def write_rounds(path: Path, sessions: int = 40) -> None:
    """Sessions of one to six rounds; the number of a session shows in the tokens of its rounds."""
    random, rows = Random(1), []
    for session in range(sessions):
        for index in range(random.randint(1, 6)):
            rows.append(f"{session},{index},{1000 * index},{1000 + session},{20 + index},{random.randint(0, 9000)}\n")
    path.write_text(HEAD + "".join(rows))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, examples_dir: Path) -> Grid:
    folder = tmp_path_factory.mktemp("sessions")
    write_rounds(folder / "rounds.csv")
    return small_grid(folder, examples_dir, GRID)


@pytest.fixture(scope="module")
def found(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return run_sweep(grid, tmp_path_factory.mktemp("out"), workers=1)


def test_every_task_ends_and_is_in_the_table(found: list[Row]) -> None:
    for row in found:
        assert (row["class.coding.tasks"], row["class.coding.tasks_completed"]) == (40, 40)
        assert row["requests"] == row["completed"]
        p50, p99, waited = (row[f"class.coding.task_{name}_s"] for name in ("e2e_p50", "e2e_p99", "waited"))
        assert isinstance(p50, float)
        assert isinstance(p99, float)
        assert isinstance(waited, float)
        assert 0.0 < waited < p99
        assert p50 <= p99


def test_seeds_play_other_tasks_and_points_of_a_group_the_same(found: list[Row]) -> None:
    requests = {seed: {row["requests"] for row in found if row["seed"] == seed} for seed in (0, 1)}
    assert all(len(of_seed) == 1 for of_seed in requests.values())
    assert requests[0] != requests[1]


def test_value_is_captured_against_the_baseline_and_hindsight_is_silent(found: list[Row]) -> None:
    for row in found:
        assert isinstance(row["value_captured_usd"], float)
        assert (row["hindsight_value_usd"], row["hindsight_value_usd_per_h"], row["regret"]) == (None, None, None)
        if row["share_target"] == 0.0 or row["policy"] == "gpu_only":
            assert row["value_captured_usd"] == 0.0


def test_one_simulation_says_the_same(grid: Grid, found: list[Row]) -> None:
    point = grid.point(1)
    fleet = point_fleet(grid, point)
    report = simulate_and_compare(
        fleet, lambda: open_traffic(grid.traffic, fleet, 1.0, point.seed), policy_named(point.policy), point.seed
    )
    tasks = report.classes["coding"].tasks
    assert tasks is not None
    assert (report.policy.hindsight_value_usd, report.policy.regret) == (None, None)
    assert found[1]["value_captured_usd"] == report.policy.value_captured_usd
    assert found[1]["class.coding.task_waited_s"] == tasks.waited_s


def test_the_page_shows_tasks_and_the_table_is_the_same_from_two_processes(
    grid: Grid, found: list[Row], tmp_path: Path
) -> None:
    page = sweep_page(found, about(grid))
    assert "How long tasks take" in page
    assert "Value captured, USD/task" in page
    for row in found:
        assert row["value_captured_usd_per_task"] == float(row["value_captured_usd"] or 0.0) / 40
    assert "coding: waiting per task, mean" in page
    assert "whole tasks drawn with replacement" in page
    assert parquet(run_sweep(grid, tmp_path, workers=2)) == parquet(found)


def test_a_trace_without_a_clock_needs_a_rate_and_is_told_so_before_anything_runs(
    tmp_path: Path, examples_dir: Path
) -> None:
    write_rounds(tmp_path / "rounds.csv")
    grid = small_grid(tmp_path, examples_dir, GRID.replace("rate_per_s = 0.5\n", ""))
    with pytest.raises(ConfigError, match=r"traffic\.rate_per_s: .*rounds\.csv has no clock .*sessions start"):
        check_traffic(grid)


def test_a_sample_thins_tasks_and_fleet_and_says_so(tmp_path: Path, examples_dir: Path) -> None:
    write_rounds(tmp_path / "rounds.csv")
    whole = small_grid(tmp_path, examples_dir, GRID)
    grid = small_grid(tmp_path, examples_dir, GRID.replace("rate_per_s = 0.5", "rate_per_s = 0.5\nsample = 0.5"))
    fleet, thinned = (point_fleet(each, each.point(1)) for each in (whole, grid))
    assert 2 * thinned.limits.queue_depth == fleet.limits.queue_depth
    assert all(2 * a.max_in_flight == b.max_in_flight for a, b in zip(thinned.backends, fleet.backends, strict=True))
    counts = [len(list(open_traffic(each.traffic, fleet, 1.0, 0))) for each in (whole, grid)]
    assert 0.2 * counts[0] < counts[1] < 0.8 * counts[0]
    notes = check_traffic(grid)
    assert any(note.startswith("sample 0.5: whole sessions") for note in notes)
    assert any("has no clock" in note for note in notes)
    assert "a sample of 50 %" in about(grid).traffic


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("sample = 1.5", "traffic.sample"),
        ("sample = 0", "traffic.sample"),
        ("rate_per_s = -1", "traffic.rate_per_s"),
        ("resample_tasks = true\nresample_block_s = 9", "traffic.resample_tasks: tasks are drawn, or blocks"),
        ("resample_tasks = true\ntraces = []", "traffic.resample_tasks: is for traces"),
        ("sample = 0.5\ntraces = []", "traffic.sample: is for traces"),
    ],
)
def test_settings_that_do_not_fit_are_refused(line: str, fault: str, tmp_path: Path, examples_dir: Path) -> None:
    write_rounds(tmp_path / "rounds.csv")
    kept = 'traces = ["coding=rounds.csv"]\n' if "traces" not in line else ""
    text = GRID[: GRID.index("[traffic]")] + f"[traffic]\n{kept}{line}\n"
    with pytest.raises(ConfigError) as error:
        small_grid(tmp_path, examples_dir, text)
    assert fault in str(error.value)


def test_blocks_of_sessions_are_refused_with_the_way_out(tmp_path: Path, examples_dir: Path) -> None:
    write_rounds(tmp_path / "rounds.csv")
    grid = small_grid(tmp_path, examples_dir, GRID.replace("resample_tasks = true", "resample_block_s = 9"))
    with pytest.raises(ConfigError, match="set resample_tasks instead"):
        run_sweep(grid, tmp_path / "out", workers=1)
