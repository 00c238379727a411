"""A grid file says everything that is wrong with it at once; its product has an order; numbers vary as they say."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_rig import GRID, small_grid, write_grid

from headrace.errors import ConfigError
from headrace.fleet import Hourly, PerToken
from headrace.study.sweep import Grid, check_values, load_grid
from headrace.study.sweep.grid import Axis, FleetSource, TrafficSettings
from headrace.study.sweep.numbers import matching, numbers
from headrace.study.sweep.variant import group_fleet, point_fleet

BROKEN = """
schema = 1
fleets = ["fleet.toml", "absent.toml"]
policies = ["prices", "gpu_only", "fastest-of-all"]
references = ["prices"]
shares = [0.1, 1.5, 0.1]
loads = []
[traffic]
traces = ["poetry=a.csv", "coding=absent.csv"]
resample_block_s = 60
[set]
"classes.poetry.value_of_time_usd_per_s" = [1]
"shares.fast.target" = [0.1]
[times]
"pools.*.prize" = [1, 2]
"""


def test_every_fault_is_reported_at_once_with_its_path(tmp_path: Path, examples_dir: Path) -> None:
    with pytest.raises(ConfigError) as found:
        small_grid(tmp_path, examples_dir, BROKEN)
    said = str(found.value)
    for part in (
        "fleets: absent.toml cannot be read",
        "policies: 'gpu_only' takes no notice of the share: list it under references",
        "policies: no policy 'fastest-of-all'",
        "references: 'prices' is under policies too",
        "shares: 0.1 appears twice",
        "shares: 1.5 lies outside [0, 1)",
        "loads: is empty",
        "traffic.traces poetry=a.csv: the fleet has no class 'poetry'",
        "absent.csv: cannot be opened",
        "set.classes.poetry.value_of_time_usd_per_s: fleet.toml has no number there",
        "set.shares.fast.target: shares.fast.target is varied by `shares`",
        "times.pools.*.prize: fleet.toml has no number there",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda text: text.replace("seeds", "sedes"), "sedes: unknown setting; did you mean 'seeds'?"),
        (lambda text: text.replace("generate_s = 12", "generate_s = 0"), "traffic.generate_s"),
        (lambda text: text.replace("schema = 1", "schema = 2"), "schema: 2 is not supported"),
        (lambda text: text.replace("shares = [0, 0.1, 0.3]", ""), "shares: missing"),
        (lambda text: text.replace("0.3]", "nan]"), "shares"),
        (lambda text: text.replace("[0, 1]", '["a"]'), "seeds"),
        (lambda text: text + "resample_block_s = 5", "traffic.resample_block_s: is for traces"),
        (lambda text: text + "= 1", "not valid TOML"),
    ],
)
def test_a_fault_says_where_and_what_to_do(
    change: Callable[[str], str], fault: str, tmp_path: Path, examples_dir: Path
) -> None:
    with pytest.raises(ConfigError, match=r".") as found:
        small_grid(tmp_path, examples_dir, change(GRID))
    assert fault in str(found.value)


def test_a_value_that_the_fleet_refuses_is_found_before_anything_runs(tmp_path: Path, examples_dir: Path) -> None:
    grid = small_grid(tmp_path, examples_dir, GRID + '[set]\n"classes.chat.timeout_s" = [600, -1]\n')
    with pytest.raises(ConfigError, match=r"set\.classes\.chat\.timeout_s = -1: fleet\.toml: classes\.chat\.timeout_s"):
        check_values(grid)


def test_a_fleet_without_a_steered_share_has_no_targets(tmp_path: Path, examples_dir: Path) -> None:
    path = write_grid(tmp_path, examples_dir)
    fleet = (tmp_path / "fleet.toml").read_text()
    (tmp_path / "fleet.toml").write_text(fleet.replace("target = 0.10", "target = 0.10\nreport_only = true"))
    with pytest.raises(ConfigError, match=r"shares: fleet\.toml steers no share"):
        load_grid(path)


def test_points_are_the_product_in_the_order_of_the_file(tmp_path: Path, examples_dir: Path) -> None:
    text = GRID + '[set]\n"classes.chat.timeout_s" = [60, 90]\n[times]\n"classes.*.value_of_time_usd_per_s" = [1, 2]\n'
    grid = small_grid(tmp_path, examples_dir, text)
    members = [*product(["prices", "static"], [0.0, 0.1, 0.3]), ("gpu_only", None), ("fast_only", None)]
    expected = [
        (settings, load, seed, policy, share)
        for *settings, load, seed, (policy, share) in product([60, 90], [1, 2], [1, 2], [0, 1], members)
    ]
    points = [grid.point(number) for number in range(grid.points)]
    assert [([*p.settings], p.load, p.seed, p.policy, p.share) for p in points] == expected
    assert [p.number for p in points] == list(range(len(expected)))


sizes = st.integers(1, 4)


@given(sizes, sizes, sizes, sizes, st.integers(0, 3), sizes, st.integers(0, 2))
def test_every_grid_counts_each_point_once(
    fleets: int, values: int, loads: int, seeds: int, policies: int, shares: int, references: int
) -> None:
    grid = Grid(
        source="g",
        title="g",
        fleets=tuple(FleetSource(f"f{i}", "", Path()) for i in range(fleets)),
        axes=(Axis("set", "a", tuple(range(values))), Axis("times", "b", (1.0, 2.0))),
        loads=tuple(float(i + 1) for i in range(loads)),
        seeds=tuple(range(seeds)),
        policies=tuple(f"p{i}" for i in range(policies)),
        shares=tuple(i / 10 for i in range(shares)),
        references=tuple(f"r{i}" for i in range(references)),
        traffic=TrafficSettings(),
    )
    points = [grid.point(number) for number in range(grid.points)]
    assert grid.points == fleets * values * 2 * loads * seeds * (policies * shares + references)
    kinds = {(p.fleet, p.settings, p.load, p.seed, p.policy, p.share) for p in points}
    assert len(kinds) == grid.points
    for group in range(grid.groups):
        same = {(p.fleet, p.settings, p.load, p.seed) for p in (points[i] for i in grid.members(group))}
        assert len(same) <= 1
        assert all(points[number].group == group for number in grid.members(group))


def test_a_pattern_names_numbers_within_one_part_of_a_path() -> None:
    document = {"pools": {"a": {"price": {"x_usd": 1, "y": 2.0}, "on": True}, "b": [{"x_usd": 3}]}, "x_usd": 4}
    assert numbers(document) == {"pools.a.price.x_usd": 1, "pools.a.price.y": 2.0, "pools.b[0].x_usd": 3, "x_usd": 4}
    assert matching(document, "*.x_usd") == []
    assert matching(document, "pools.*.price.*_usd") == ["pools.a.price.x_usd"]
    assert matching(document, "pools.b[0].x_usd") == ["pools.b[0].x_usd"]


def test_numbers_of_the_fleet_are_set_and_multiplied(tmp_path: Path, examples_dir: Path) -> None:
    text = GRID + '[set]\n"classes.chat.timeout_s" = [77]\n[times]\n"pools.*.price.*_usd_per_mtok" = [0.5]\n'
    grid = small_grid(tmp_path, examples_dir, text + '"deployments.*.max_batch" = [2]\n')
    fleet = point_fleet(grid, grid.point(1))
    assert fleet.classes["chat"].timeout_s == 77
    assert fleet.shares["fast"].target == 0.1
    assert fleet.deployments["gpu"].max_batch == 8192
    prices = [pool.price for pool in fleet.pools.values() if isinstance(pool.price, PerToken)]
    assert [(price.input_usd_per_mtok, price.output_usd_per_mtok) for price in prices] == [
        (0.045, 0.18),
        (0.175, 0.375),
    ]


def test_a_setting_that_the_file_leaves_at_its_default_can_be_set(examples_dir: Path, tmp_path: Path) -> None:
    text = GRID + '[set]\n"classes.chat.timeout_s" = [77]\n'
    assert "timeout_s" not in (examples_dir / "azure-acceptance.toml").read_text()
    grid = small_grid(tmp_path, examples_dir, text)
    assert group_fleet(grid, grid.point(0)).classes["chat"].timeout_s == 77


def test_at_share_0_the_silicon_is_not_there_and_not_paid_for(tmp_path: Path, examples_dir: Path) -> None:
    path = write_grid(tmp_path, examples_dir, GRID.replace("fleet.toml", "sample.toml"))
    text = (examples_dir / "fleet.toml").read_text()
    (tmp_path / "sample.toml").write_text(text)
    grid = load_grid(path)
    fleet = point_fleet(grid, grid.point(0))
    assert fleet.steered_share() is None
    assert fleet.shares["fast"].pools == ()
    assert "groq" not in fleet.shares["alternative"].pools
    assert "groq" not in fleet.pools
    assert all("cerebras" not in route.pools for route in fleet.routes)
    assert any(isinstance(pool.price, Hourly) for pool in fleet.pools.values())
