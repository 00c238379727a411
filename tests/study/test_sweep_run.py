"""A sweep gives the same bytes wherever it runs and however often it is stopped, and its figures are `simulate`'s."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from sweep_rig import GRID, small_grid, write_grid

from headrace.errors import ConfigError
from headrace.study import simulate_and_compare
from headrace.study.sweep import COLUMNS, Done, Grid, Row, columns, load_grid, parquet, run_sweep
from headrace.study.sweep.document import GridTable, TrafficTable
from headrace.study.sweep.policies import policy_named
from headrace.study.sweep.traffic import open_traffic
from headrace.study.sweep.variant import point_fleet


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, examples_dir: Path) -> Grid:
    return small_grid(tmp_path_factory.mktemp("grid"), examples_dir)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finished")


@pytest.fixture(scope="module")
def found(grid: Grid, folder: Path) -> list[Row]:
    return run_sweep(grid, folder, workers=1)


def test_every_point_is_a_row_in_order(grid: Grid, found: list[Row]) -> None:
    assert [row["point"] for row in found] == list(range(grid.points))
    assert all(row["requests"] == row["completed"] for row in found)


def test_processes_give_the_same_bytes_as_one(grid: Grid, found: list[Row], tmp_path: Path) -> None:
    assert parquet(run_sweep(grid, tmp_path, workers=2)) == parquet(found)


def test_a_local_ray_gives_the_same_bytes(grid: Grid, found: list[Row], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'headrace[ray]'")
    assert parquet(run_sweep(grid, tmp_path, workers=2, ray_address="local")) == parquet(found)


def test_a_killed_sweep_goes_on_where_it_was(grid: Grid, found: list[Row], folder: Path, tmp_path: Path) -> None:
    content = (folder / "finished.jsonl").read_bytes()
    for part in (0.0, 0.31, 0.97):
        kept = content[: int(len(content) * part)]
        file = tmp_path / str(part) / "finished.jsonl"
        file.parent.mkdir()
        file.write_bytes(kept)
        again: list[Done] = []
        assert parquet(run_sweep(grid, file.parent, workers=1, on_done=again.append)) == parquet(found)
        results = max(kept.count(b"\n") - 1, 0)
        assert len(again) == grid.points + grid.groups - results
        assert sorted(file.read_bytes().splitlines()) == sorted(content.splitlines())


def test_a_finished_sweep_does_nothing_again(grid: Grid, found: list[Row], folder: Path) -> None:
    again: list[Done] = []
    assert run_sweep(grid, folder, workers=1, on_done=again.append) == found
    assert again == []


def test_results_of_another_grid_are_never_mixed_in(
    found: list[Row], folder: Path, tmp_path: Path, examples_dir: Path
) -> None:
    changed = small_grid(tmp_path, examples_dir, GRID.replace("0.3", "0.4"))
    with pytest.raises(ConfigError, match=r"begun with another grid: results must not be mixed; give another --out"):
        run_sweep(changed, folder)
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(fleet.read_text().replace("max_in_flight = 4096", "max_in_flight = 4095"))
    (tmp_path / "grid.toml").write_text(GRID)
    with pytest.raises(ConfigError, match=r"begun with another fleet fleet\.toml"):
        run_sweep(load_grid(tmp_path / "grid.toml"), folder)


def test_a_broken_line_that_no_kill_explains_is_refused(grid: Grid, folder: Path, tmp_path: Path) -> None:
    lines = (folder / "finished.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "finished.jsonl").write_bytes(b"".join([*lines[:2], b'{"type":"poi\n', *lines[3:]]))
    with pytest.raises(ConfigError, match="line 3"):
        run_sweep(grid, tmp_path)


def test_two_sweeps_do_not_write_one_folder(grid: Grid, tmp_path: Path) -> None:
    def second(_: int, __: int) -> None:
        with pytest.raises(ConfigError, match="another sweep writes here"):
            run_sweep(grid, tmp_path, workers=1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(grid, tmp_path, workers=1, on_start=second)


def test_a_point_that_cannot_run_is_named(examples_dir: Path, tmp_path: Path) -> None:
    grid = small_grid(tmp_path, examples_dir, GRID + '[set]\n"classes.chat.timeout_s" = [-1]\n')
    with pytest.raises(ConfigError, match=r"point \d \(fleet\.toml, prices, share 0.*, .*timeout_s = -1\)"):
        run_sweep(grid, tmp_path / "out", workers=1)


def test_figures_are_those_of_a_single_simulation(grid: Grid, found: list[Row]) -> None:
    for row in found:
        point = grid.point(int(row["point"] or 0))
        if point.share in (None, 0.0):
            continue
        fleet = point_fleet(grid, point)
        report = simulate_and_compare(
            fleet,
            lambda fleet=fleet, point=point: open_traffic(grid.traffic, fleet, point.load, point.seed),
            policy_named(point.policy),
            point.seed,
        )
        assert row["value_captured_usd"] == report.policy.value_captured_usd
        assert row["hindsight_value_usd"] == report.policy.hindsight_value_usd
        assert row["regret"] == report.policy.regret
        assert row["share_realized"] == report.shares["fast"].realized
        assert row["class.coding.e2e_p90_s"] == report.classes["coding"].e2e_s.p90
        assert row["pool.fast.cost_usd"] == report.pools["fast"].cost_usd


def test_share_0_is_the_baseline_to_the_last_bit(found: list[Row]) -> None:
    at_zero = [row for row in found if row["share_target"] == 0.0 and row["policy"] == "prices"]
    assert at_zero
    for row in at_zero:
        assert row["value_captured_usd"] == 0.0
        assert row["share_realized"] == 0.0
        assert row["j_usd"] == row["baseline_j_usd"]
        assert row["regret"] is None
        assert "pool.fast.requests" not in row


def test_a_reference_has_no_target_and_is_not_judged_by_one(found: list[Row]) -> None:
    references = [row for row in found if row["policy"] in ("gpu_only", "fast_only")]
    assert len(references) == 2 * 4
    for row in references:
        assert row["share_target"] is None
        assert row["worst_window_pp"] is None
        assert row["share_realized"] == (0.0 if row["policy"] == "gpu_only" else 1.0)


def test_the_table_has_the_columns_that_are_documented(found: list[Row]) -> None:
    table = pl.read_parquet(parquet(found))
    described = columns(found)
    assert list(table.columns) == list(described)
    assert {name: column.type for name, column in described.items()} == dict(table.schema)
    plain = [column.name for column in COLUMNS if "{}" not in column.name]
    assert [name for name in table.columns if name in plain] == plain
    assert not [name for name in table.columns if "wall" in name or "elapsed" in name]
    assert table["point"].is_sorted()


def test_capacity_by_the_hour_is_paid_only_where_it_is_there(examples_dir: Path, tmp_path: Path) -> None:
    path = write_grid(
        tmp_path, examples_dir, GRID.replace("[0, 1]", "[0]").replace("generate_s = 12", "generate_s = 5")
    )
    text = (examples_dir / "fleet.toml").read_text()
    fast = text.index("[pools.cerebras.price]")
    end = text.index("[[pools.cerebras.backends]]")
    text = text[:fast] + "[pools.cerebras.price]\n" + HOURLY + "\n" + text[end:]
    (tmp_path / "fleet.toml").write_text(text)
    found = run_sweep(load_grid(path), tmp_path / "out", workers=1)
    costs = {row["share_target"]: float(row["cost_usd_per_h"] or 0.0) for row in found if row["policy"] == "prices"}
    assert 4000.0 < costs[0.1] - costs[0.0] < 4010.0


HOURLY = """
type = "hourly"
usd_per_accelerator_hour = 1000.0
electricity_usd_per_kwh = 0.08
"""


def test_every_column_is_in_the_reference(examples_dir: Path) -> None:
    text = (examples_dir.parent / "docs" / "studies.md").read_text()
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.unit} | {column.meaning} |" in text


def test_every_setting_of_a_grid_is_in_the_reference(examples_dir: Path) -> None:
    text = (examples_dir.parent / "docs" / "studies.md").read_text()
    for name in (*GridTable.__struct_fields__, *TrafficTable.__struct_fields__):
        assert f"`{name}`" in text or f"`[{name}]`" in text
