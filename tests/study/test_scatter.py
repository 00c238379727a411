"""The page of predictions against measurements: every judged point once, nothing loaded from outside."""

from __future__ import annotations

import re
from pathlib import Path

from headrace.bench.validation import Row, Section, Subject
from headrace.study import scatter

SUBJECT = Subject("TPOT", "chip <1>", "a model", "software", "one user")


def section_of(rows: list[Row]) -> Section:
    return Section("gpu", "time & more", 3, 5, [], rows)


def row(predicted: float, judged: str = "unseen half", subject: Subject | None = SUBJECT) -> Row:
    return Row("chip", "label", judged, predicted, 1.0, 0.8 * predicted, 1.2 * predicted, subject)


def test_points_are_drawn_once_and_by_how_they_were_judged() -> None:
    first = Subject("TTFT", "chip <2>", "a model", "software", "one user")
    rows = [row(1.1), row(1.3), row(1.0, "model left out"), row(2.0, subject=first), row(0.9, "in sample")]
    found = scatter.panels(section_of([*rows, row(1.0, subject=None)]))
    assert [(judged, quantity, len(of)) for judged, quantity, of in found] == [
        ("unseen half", "TPOT", 2),
        ("model left out", "TPOT", 1),
        ("unseen half", "TTFT", 1),
    ]


def test_a_point_outside_its_interval_is_hollow_and_times_per_token_are_in_milliseconds() -> None:
    figure = scatter.scatter_chart("TPOT", [row(1.1), row(1.3)], {SUBJECT.silicon: "#1f77b4"})
    points = figure.data[-1]
    assert list(points.marker.symbol) == ["circle", "circle-open"]
    assert (list(points.x), list(points.y)) == ([1000.0, 1000.0], [1100.0, 1300.0])
    assert figure.layout.xaxis.range == figure.layout.yaxis.range


def test_a_point_without_an_interval_is_filled() -> None:
    bare = Row("chip", "label", "unseen half", 9.0, 1.0, subject=SUBJECT)
    figure = scatter.scatter_chart("TPOT", [bare], {SUBJECT.silicon: "#1f77b4"})
    assert list(figure.data[-1].marker.symbol) == ["circle"]


def test_the_page_says_how_many_are_inside_and_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert scatter.write_scatter(path, [section_of([row(1.1), row(1.3), row(0.9, "in sample")])]) == 2
    text = path.read_text(encoding="utf-8")
    assert "<b>50 %</b> inside the interval" in text
    assert "chip &lt;1&gt;" in text
    assert "chip <1>" not in text
    assert not re.search(r"<(script|link)[^>]+(src|href)=", text)


def test_a_section_without_points_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert scatter.write_scatter(path, [section_of([row(1.0, "in sample")])]) == 0
    assert "<section>" not in path.read_text(encoding="utf-8")
