"""The charts of a plan's report: each a panel, from the answer alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from headrace.study.panels import MUTED, Panel, layout
from headrace.study.plan.answer import Curve, FuturesAnswer, PlanAnswer, Swing
from headrace.study.plan.desk import EXPECTED
from headrace.study.plan.findings import RunFinding
from headrace.study.plan.words import unit_word, usd
from headrace.study.style import COLOURS

HEIGHT_PX, BAR_PX, FRAME_PX = 300, 34, 90
GOOD, BAD = "#2ca02c", "#d62728"
MOST_ROWS = 12
USD_AXIS = {"tickprefix": "$", "exponentformat": "B"}  # $5B, not $5G


def mix_panel(answer: PlanAnswer) -> Panel:
    """What part of requests, output tokens and money each offer has."""
    used = [each for each in answer.offers if each.requests > 0.0 or each.usd > 0.0]
    total = sum(each.usd for each in used) or 1.0
    measures = ["money", "output tokens", "requests"]
    bars = [
        _bar(
            each.name,
            [each.usd / total, each.output_tokens, each.requests],
            measures,
            str(COLOURS[number % len(COLOURS)]),
        )
        for number, each in enumerate(used)
    ]
    return _stacked("Who has which part", bars, measures)


def classes_panel(answer: PlanAnswer) -> Panel:
    """Where each class goes."""
    names = [each.name for each in reversed(answer.classes)]
    used = [each.name for each in answer.offers if each.requests > 0.0 or each.usd > 0.0]
    bars = [
        _bar(
            offer,
            [each.places.get(offer, 0.0) for each in reversed(answer.classes)],
            names,
            str(COLOURS[number % len(COLOURS)]),
        )
        for number, offer in enumerate(used)
    ]
    return _stacked("Where each class goes, part of its requests", bars, names)


def money_panel(title: str, parts: dict[str, float]) -> Panel:
    """Money by something, as bars of the same scale."""
    rows = sorted(parts.items(), key=lambda part: part[1])[-MOST_ROWS:]
    figure = {
        "type": "bar",
        "orientation": "h",
        "x": [value for _, value in rows],
        "y": [name for name, _ in rows],
        "text": [usd(value) for _, value in rows],
        "textposition": "auto",
        "cliponaxis": False,
        "marker": {"color": COLOURS[0]},
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    height = FRAME_PX + BAR_PX * max(1, len(rows))
    return Panel(title, {"data": [figure], "layout": _bars(height, {**USD_AXIS, "nticks": 4})})


def stages_panel(answer: PlanAnswer) -> Panel:
    """Money by stage."""
    stages = answer.cost.by_stage
    figure = {
        "type": "bar",
        "x": list(stages),
        "y": list(stages.values()),
        "text": [usd(value) for value in stages.values()],
        "marker": {"color": COLOURS[0]},
        "hovertemplate": "%{x}: %{text}<extra></extra>",
    }
    return Panel("When it is spent", {"data": [figure], "layout": layout(HEIGHT_PX, {"type": "category"}, USD_AXIS)})


def curve_panel(curve: Curve, time_has_value: bool) -> Panel:
    """Cost over the share, as expected and at the ends of the intervals; the cheapest is marked."""
    traces: list[dict[str, Any]] = []
    others = [case for case in curve.points if case != EXPECTED]
    for number, case in enumerate([*others, EXPECTED]):
        points = [p for p in curve.points.get(case, []) if p.spent_usd is not None]
        expected = case == EXPECTED
        colour = str(COLOURS[0] if expected else COLOURS[1 + number % (len(COLOURS) - 1)])
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": case,
                "x": [100.0 * p.share for p in points],
                "y": [(p.spent_usd or 0.0) + (p.waiting_usd or 0.0) for p in points],
                "line": {"color": colour, "width": 3 if expected else 1.5, "dash": "solid" if expected else "dot"},
                "marker": {"size": 7 if expected else 4},
                "hovertemplate": f"{case}, %{{x:g}} %: %{{y:$.4s}}<extra></extra>",
            }
        )
        if expected and curve.best.get(case) is not None:
            traces.append(_cheapest(points, curve.best[case]))
    title = "Cost of the best plan at each share" + (", waiting counted as money" if time_has_value else "")
    chart = layout(380, {"title": {"text": f"share of {unit_word(curve.of)}, %"}}, USD_AXIS)
    return Panel(title, {"data": traces, "layout": {**chart, **_legend()}})


def money_of_curve_panel(curve: Curve) -> Panel:
    """What the expected curve is made of: money, and the users' time."""
    points = [p for p in curve.points.get(EXPECTED, []) if p.spent_usd is not None]
    parts = (("money", [p.spent_usd for p in points]), ("users' waiting", [p.waiting_usd for p in points]))
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "stackgroup": "usd",
            "name": name,
            "x": [100.0 * p.share for p in points],
            "y": values,
            "line": {"color": COLOURS[number], "width": 1.5},
            "hovertemplate": f"{name} at %{{x:g}} %: %{{y:$.4s}}<extra></extra>",
        }
        for number, (name, values) in enumerate(parts)
        if any(values)
    ]
    chart = layout(380, {"title": {"text": f"share of {unit_word(curve.of)}, %"}}, {**USD_AXIS, "rangemode": "tozero"})
    return Panel("What that cost is made of", {"data": traces, "layout": {**chart, **_legend()}})


def latency_panel(answer: PlanAnswer, what: str, title: str) -> Panel | None:
    """A latency by class, before and after; None where no class has one."""
    traces: list[dict[str, Any]] = []
    for name, side in (("without the share", "before"), ("with this plan", "after")):
        found = [(each.name, getattr(each, side)) for each in answer.classes]
        found = [(each, latency) for each, latency in found if latency is not None]
        if found:
            traces.append(
                {
                    "type": "bar",
                    "name": name,
                    "x": [each for each, _ in found],
                    "y": [getattr(latency, what) for _, latency in found],
                    "marker": {"color": MUTED if side == "before" else COLOURS[0]},
                    "hovertemplate": f"%{{x}}, {name}: %{{y:.3g}} s<extra></extra>",
                }
            )
    slo = [(each.name, getattr(each, f"slo_{what}")) for each in answer.classes]
    slo = [(name, value) for name, value in slo if value is not None]
    if slo and traces:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "SLO",
                "x": [name for name, _ in slo],
                "y": [value for _, value in slo],
                "marker": {"symbol": "line-ew", "size": 34, "line": {"width": 3, "color": BAD}},
                "hovertemplate": "%{x}: SLO %{y:.3g} s<extra></extra>",
            }
        )
    if not traces:
        return None
    chart = layout(HEIGHT_PX, None, {"type": "log", "dtick": 1, "title": {"text": "s"}})
    return Panel(title, {"data": traces, "layout": {**chart, **_legend(), "barmode": "group"}})


def load_panel(run: RunFinding) -> Panel:
    """SLO attainment against load, as it rose."""
    traces = _attainments(run, [step.load for step in run.steps])
    chart = layout(HEIGHT_PX, {"title": {"text": "load, planned peaks"}}, _part_axis(run))
    return Panel("SLO attainment as load rises", {"data": traces, "layout": {**chart, **_legend()}})


def loss_panel(run: RunFinding) -> Panel:
    """SLO attainment over time, and when something was lost."""
    slice_s = run.duration_s / max(1, len(run.steps))
    traces = _attainments(run, [(number + 0.5) * slice_s for number in range(len(run.steps))])
    chart = layout(HEIGHT_PX, {"title": {"text": "s"}}, _part_axis(run))
    at_s = run.lost_at_s
    line = {
        "type": "line",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "x0": at_s,
        "x1": at_s,
        "line": {"color": BAD, "width": 2},
    }
    shapes = [] if at_s is None else [line]
    return Panel(run.name, {"data": traces, "layout": {**chart, **_legend(), "shapes": shapes}})


def swings_panel(swings: Sequence[Swing], expected_usd: float) -> Panel:
    """One thing at a time, the largest on top."""
    known = [each for each in swings if each.low_usd is not None and each.high_usd is not None]
    known.sort(key=lambda each: abs((each.high_usd or 0.0) - (each.low_usd or 0.0)))
    known = [each for each in known if each.low_usd != each.high_usd][-MOST_ROWS:]
    traces = [_side(known, side, expected_usd) for side in ("low", "high")]
    chart = _bars(FRAME_PX + BAR_PX * max(1, len(known)), {**USD_AXIS, "nticks": 5})
    return Panel("Cost, one thing at a time", {"data": traces, "layout": {**chart, "barmode": "overlay"}})


def _side(known: Sequence[Swing], side: str, expected_usd: float) -> dict[str, Any]:
    """Bars to one end of each interval: green where it is cheaper, red where it is dearer."""
    costs = [getattr(each, f"{side}_usd") for each in known]
    said = [getattr(each, side) for each in known]
    return {
        "type": "bar",
        "orientation": "h",
        "name": side,
        "base": expected_usd,
        "x": [cost - expected_usd for cost in costs],
        "y": [each.what for each in known],
        "customdata": [[end, usd(cost)] for end, cost in zip(said, costs, strict=True)],
        "text": said,
        "textposition": "auto",
        "textangle": 0,
        "marker": {"color": [GOOD if cost <= expected_usd else BAD for cost in costs]},
        "hovertemplate": "%{y} %{customdata[0]}: %{customdata[1]}<extra></extra>",
    }


def futures_panel(futures: FuturesAnswer) -> Panel:
    """What this plan costs in every future, beside the best plan for that future, cheapest first."""
    order = sorted(range(len(futures.usd)), key=lambda k: futures.usd[k])
    rows: list[tuple[str, Sequence[float | None]]] = [
        ("this plan", futures.usd),
        ("best plan, had one known", futures.hindsight_usd),
    ]
    traces = [
        {
            "type": "scatter",
            "mode": "markers" if number else "lines+markers",
            "name": name,
            "x": list(range(1, len(order) + 1)),
            "y": [values[k] for k in order],
            "marker": {"size": 8 if number == 0 else 6, "symbol": "circle" if number == 0 else "x"},
            "line": {"color": COLOURS[number], "width": 1.5},
            "hovertemplate": f"{name}: %{{y:$.4s}}<extra></extra>",
        }
        for number, (name, values) in enumerate(rows)
    ]
    chart = layout(HEIGHT_PX, {"title": {"text": "futures, cheapest first"}}, USD_AXIS)
    return Panel("Cost in each sampled future", {"data": traces, "layout": {**chart, **_legend()}})


def _cheapest(points: Iterable[Any], share: float) -> dict[str, Any]:
    at = next(p for p in points if p.share == share)
    value = at.spent_usd + (at.waiting_usd or 0.0)
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [100.0 * share],
        "y": [value],
        "text": [f"cheapest: {100.0 * share:g} %"],
        "textposition": "bottom center",
        "showlegend": False,
        "cliponaxis": False,
        "marker": {"size": 13, "color": GOOD},
        "hovertemplate": f"cheapest share: {usd(value)}<extra></extra>",
    }


def _attainments(run: RunFinding, xs: Sequence[float]) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = []
    for number, each in enumerate(run.classes):
        values = [step.attainment.get(each.workload_class) for step in run.steps]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": each.workload_class,
                "x": list(xs),
                "y": values,
                "marker": {"size": 5},
                "line": {"color": COLOURS[number % len(COLOURS)], "width": 2},
                "hovertemplate": f"{each.workload_class}: %{{y:.1%}} at %{{x:.3g}}<extra></extra>",
            }
        )
    return traces


def _bar(name: str, values: Sequence[float], rows: Sequence[str], colour: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": list(values),
        "y": list(rows),
        "text": [f"{value:.0%}" if value >= 0.04 else "" for value in values],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "marker": {"color": colour, "line": {"color": "white", "width": 1}},
        "hovertemplate": f"{name}: %{{x:.1%}} of %{{y}}<extra></extra>",
    }


def _stacked(title: str, bars: list[dict[str, Any]], rows: Sequence[str]) -> Panel:
    chart = _bars(FRAME_PX + BAR_PX * len(rows) + 20, {"tickformat": ".0%", "range": [0, 1], "nticks": 5})
    return Panel(title, {"data": bars, "layout": {**chart, **_legend(), "barmode": "stack"}})


def _bars(height_px: int, x: dict[str, Any]) -> dict[str, Any]:
    return layout(height_px, x, {"type": "category", "ticks": ""})


def _part_axis(run: RunFinding) -> dict[str, Any]:
    """Down to a half, or to the lowest."""
    values = [part for step in run.steps for part in step.attainment.values() if part is not None]
    return {"tickformat": ".0%", "range": [min([0.5, *values]) - 0.03, 1.03], "nticks": 6}


def _legend() -> dict[str, Any]:
    return {
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
    }
