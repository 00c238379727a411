"""The page draws every series of the table, with its interval; the verdict on the next percent follows from them."""

from __future__ import annotations

import json
import re
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from sweep_rig import small_grid

from headrace.study.sweep import Row, about, run_sweep, sweep_page
from headrace.study.sweep.curves import VALUE, Curves, band
from headrace.study.sweep.page import MOST_CASES, About

ABOUT = About("t <b>", "compute on fast", "made up", {"chat": 0.001})


def charts(page: str) -> list[dict[str, Any]]:
    """What the page draws, as Plotly is given it."""
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.S)
    assert found is not None
    drawn: list[dict[str, Any]] = json.loads(found[1])
    return drawn


def made_up(values: dict[float, list[float]], load: float = 1.0, **other: float) -> list[Row]:
    """Rows of one policy: value captured per hour by share, a seed each."""
    return [
        {
            "fleet": "f",
            "load": load,
            "seed": seed,
            "policy": "prices",
            "share_target": share,
            "requests": 10,
            "share_realized": share,
            "worst_window_pp": 0.1,
            "cost_usd_per_h": 5.0,
            "class.chat.requests": 10,
            "class.chat.slo_attainment": 0.9,
            VALUE: value,
            **other,
        }
        for share, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]


def test_intervals_are_student_t() -> None:
    mean, low, high = band([1.0, 2.0, 3.0])
    half = 4.302653 / sqrt(3)  # t(0.975, 2), from a table
    assert (mean, low, high) == pytest.approx((2.0, 2.0 - half, 2.0 + half), rel=1e-6)
    assert band([7.0]) == (7.0, None, None)


def test_the_next_percent_is_paired_seed_by_seed() -> None:
    curves = Curves(made_up({0.0: [0.0, 100.0], 0.1: [1.0, 101.0], 0.2: [0.5, 100.5]}))
    steps = curves.next_percent(curves.cases[0], 1.0, "prices")
    assert [step.share for step in steps] == [0.0, 0.1]
    assert [step.band.mean for step in steps] == pytest.approx([0.1, -0.05])
    assert steps[0].band.high == pytest.approx(0.1)  # both seeds gain the same: no spread is left


@pytest.mark.parametrize(
    ("values", "until", "best", "says"),
    [
        ({0.0: [0.0, 0.0], 0.1: [1.0, 1.1], 0.2: [2.0, 2.1]}, 0.2, 0.2, "still pays at 20 %"),
        ({0.0: [0.0, 0.0], 0.1: [1.0, 1.1], 0.2: [0.5, 0.6]}, 0.1, 0.1, "stops paying at 10 %"),
        ({0.0: [0.0, 0.0], 0.1: [-1.0, -1.1]}, 0.0, 0.0, "No share pays"),
        ({0.0: [0.0, 0.0], 0.1: [-1.0, 0.9]}, 0.0, 0.0, "within the noise"),
    ],
)
def test_the_verdict_follows_from_the_curve(
    values: dict[float, list[float]], until: float, best: float, says: str
) -> None:
    found = made_up(values)
    payoff = Curves(found).payoff(Curves(found).cases[0], 1.0, "prices")
    assert payoff is not None
    assert (payoff.pays_until, payoff.best_share) == (until, best)
    assert says in sweep_page(found, ABOUT)


def test_every_series_of_a_sweep_is_on_its_page(tmp_path: Path, examples_dir: Path) -> None:
    grid = small_grid(tmp_path, examples_dir)
    found = run_sweep(grid, tmp_path / "out", workers=1)
    drawn = charts(sweep_page(found, about(grid)))
    titles = {
        *("Value captured, USD/h", "The next percent brings, USD/h per point", "Cost of all pools, USD/h"),
        *("coding: SLO attainment, %", "chat: first token, p50, s", "coding: time per token, p50, ms"),
        *("chat: whole answer, p99, s", "Realized share, %", "Worst five minutes off target, points"),
    }
    assert {f"{title}, load {load}" for title in titles for load in (1, 2)} <= {chart["title"] for chart in drawn}
    for load in (1.0, 2.0):
        (chart,) = [chart for chart in drawn if chart["title"] == f"Value captured, USD/h, load {load:g}"]
        lines = {line["name"]: line for line in chart["data"]}
        for policy in ("prices", "static"):
            assert lines[policy]["x"] == pytest.approx([0.0, 10.0, 30.0])
            assert {f"{policy} low", f"{policy} high"} <= set(lines)
            for index, share in enumerate((0.0, 0.1, 0.3)):
                seeds = [
                    float(row[VALUE] or 0.0)
                    for row in found
                    if (row["policy"], row["load"], row["share_target"]) == (policy, load, share)
                ]
                assert len(seeds) == 2
                assert lines[policy]["y"][index] == pytest.approx(sum(seeds) / 2)
        for reference in ("gpu_only", "fast_only"):
            assert lines[reference]["y"][0] == lines[reference]["y"][1]


def test_a_reference_far_away_does_not_flatten_the_others() -> None:
    found = made_up({0.0: [0.0], 0.1: [1.0]})
    far = [{**row, "policy": "fast_only", "share_target": None, VALUE: -500.0} for row in found[:1]]
    page = sweep_page(found + far, ABOUT)
    low, high = charts(page)[0]["layout"]["yaxis"]["range"]
    assert -1.0 < low < 0.0 < 1.0 < high < 2.0
    assert "off the scale: fast_only: -500 USD/h" in page


def test_the_page_needs_nothing_from_outside_and_escapes_names() -> None:
    page = sweep_page(made_up({0.0: [0.0], 0.1: [1.0]}), ABOUT)
    assert re.findall(r"""(?:src|href)\s*=\s*["']https?:""", page.split("</head>")[1]) == []
    assert "<link" not in page.split("</head>")[1]
    assert "t &lt;b&gt;" in page
    assert 'name="viewport"' in page


def test_cases_beyond_what_a_page_holds_are_counted() -> None:
    found = [row for i in range(MOST_CASES + 3) for row in made_up({0.0: [0.0], 0.1: [1.0]}, **{"set.x": float(i)})]
    assert "3 more cases are in the table" in sweep_page(found, ABOUT)
