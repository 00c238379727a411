"""The small charts of a sweep's page: one figure against the share, a line a policy, a band over seeds.

References are level dashed lines. One that lies far off what the policies span would flatten them all: it is drawn, but
the axis does not stretch to it, and the panel says where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headrace.study.panels import MUTED, Panel, layout
from headrace.study.style import COLOURS, faint
from headrace.study.sweep.curves import Band, Case, CurvePoint, Curves

HEIGHT_PX = 300
STRETCH = 0.6  # how far beyond the policies' span a reference may stretch the axis, as a part of it
APART = 0.055  # ticks closer than this part of the axis are left out


@dataclass(frozen=True, slots=True)
class Measure:
    """What a panel shows: a column of the table, and how it is scaled for people.

    Attributes:
        least, most: bounds that the figure cannot pass; intervals are cut there. None: there is no such bound.
    """

    column: str
    title: str
    factor: float = 1.0
    unit: str = ""
    form: str = ".3g"
    least: float | None = 0.0
    most: float | None = None
    line_at_zero: bool = False


def colour(curves: Curves, name: str) -> str:
    """The colour of a policy or reference, the same on every panel."""
    return str(COLOURS[[*curves.policies, *curves.references].index(name) % len(COLOURS)])


def panel(curves: Curves, case: Case, load: float, measure: Measure) -> Panel:
    """A column against the share."""
    lines = {name: curves.curve(case, load, name, measure.column) for name in curves.policies}
    levels = {name: curves.level(case, load, name, measure.column) for name in curves.references}
    return _drawn(curves, measure, load, lines, {name: level for name, level in levels.items() if level is not None})


def step_panel(curves: Curves, case: Case, load: float) -> Panel:
    """What the next percent brings, as steps from target to target."""
    worth = curves.worth
    unit = f"{worth.unit} per point"
    measure = Measure(worth.value, "The next percent brings", 1.0, unit, ".2g", None, line_at_zero=True)
    lines = {name: curves.next_percent(case, load, name) for name in curves.policies}
    ends = {name: curves.curve(case, load, name, worth.value)[-1:] for name in curves.policies}
    closed = {name: [*steps, CurvePoint(ends[name][0].share, steps[-1].band)] for name, steps in lines.items() if steps}
    return _drawn(curves, measure, load, closed, {}, shape="hv")


def _drawn(
    curves: Curves,
    measure: Measure,
    load: float,
    lines: dict[str, list[CurvePoint]],
    levels: dict[str, Band],
    shape: str = "linear",
) -> Panel:
    traces: list[dict[str, Any]] = []
    for name, points in lines.items():
        traces += _line(name, points, measure, colour(curves, name), shape)
    shares = sorted({point.share for points in lines.values() for point in points})
    ends = (shares[0], shares[-1]) if len(shares) > 1 else (0.0, 1.0)
    low, high = _span(lines, levels, measure)
    aside = []
    for name, level in levels.items():
        value = level.mean * measure.factor
        traces.append(_level(name, value, ends, measure, colour(curves, name)))
        if not low <= value <= high:
            aside.append(f"{name}: {_text(value, measure)}")
    layout = _layout(measure, shares, ends, (low, high))
    title = f"{measure.title}, {measure.unit}" + ("" if len(curves.loads) == 1 else f", load {load:g}")
    return Panel(title, {"data": traces, "layout": layout}, "off the scale: " + "; ".join(aside) if aside else "")


def _line(name: str, points: Sequence[CurvePoint], measure: Measure, colour: str, shape: str) -> list[dict[str, Any]]:
    xs = [100.0 * point.share for point in points]
    line = {"shape": shape, "width": 0}
    traces: list[dict[str, Any]] = []
    bands = [point.band for point in points]
    if all(each.low is not None for each in bands) and points:
        lows = [_scaled(each.low, measure) for each in bands]
        highs = [_scaled(each.high, measure) for each in bands]
        edge = {"x": xs, "mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False, "type": "scatter"}
        traces.append({**edge, "y": lows, "name": f"{name} low"})
        traces.append({**edge, "y": highs, "name": f"{name} high", "fill": "tonexty", "fillcolor": faint(colour, 0.16)})
    ys = [_scaled(each.mean, measure) for each in bands]
    traces.append(
        {
            "type": "scatter",
            "x": xs,
            "y": ys,
            "name": name,
            "mode": "lines" if shape == "hv" else "lines+markers",
            "line": {"color": colour, "width": 2.5, "shape": shape},
            "marker": {"size": 6},
            "hovertemplate": f"{name} at %{{x:g}} %: %{{y:{measure.form}}} {measure.unit}<extra></extra>",
        }
    )
    return traces


def _level(name: str, value: float, ends: tuple[float, float], measure: Measure, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": [100.0 * ends[0], 100.0 * ends[1]],
        "y": [value, value],
        "name": name,
        "mode": "lines",
        "line": {"color": colour, "width": 1.8, "dash": "dash"},
        "hovertemplate": f"{name}: {_text(value, measure)}<extra></extra>",
    }


def _span(lines: dict[str, list[CurvePoint]], levels: dict[str, Band], measure: Measure) -> tuple[float, float]:
    """The range of the vertical axis; references stretch it only so far."""
    bands = [point.band for points in lines.values() for point in points] or list(levels.values())
    values = [_scaled(each, measure) for band in bands for each in band if each is not None]
    if measure.line_at_zero:
        values.append(0.0)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    reach = STRETCH * ((high - low) or abs(high) or 1.0)
    near = [level.mean * measure.factor for level in levels.values()]
    near = [value for value in near if low - reach <= value <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.07 * ((high - low) or 0.1 * abs(high) or 1.0)
    least, most = measure.least, measure.most
    low = low - margin if least is None else max(low - margin, min(low, least) - 0.3 * margin)
    return low, high + margin if most is None else min(high + margin, max(high, most) + 0.3 * margin)


def _layout(
    measure: Measure, shares: Sequence[float], ends: tuple[float, float], span: tuple[float, float]
) -> dict[str, Any]:
    width = 100.0 * (ends[1] - ends[0])
    edge = 0.03 * width
    x = {
        "tickvals": _ticks([100.0 * share for share in shares], width),
        "range": [100.0 * ends[0] - edge, 100.0 * ends[1] + edge],
        "title": {"text": "share, %", "font": {"size": 12}},
    }
    y = {"range": list(span), "nticks": 6}
    zero = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "line": {"color": MUTED, "width": 1.3}}
    return {**layout(HEIGHT_PX, x, y), "shapes": [zero] if measure.line_at_zero else []}


def _ticks(values: Sequence[float], width: float) -> list[float]:
    """The targets, but none so close to the one before that their labels would touch."""
    kept: list[float] = []
    for value in values:
        if not kept or value - kept[-1] >= APART * width:
            kept.append(round(value, 6))
    return kept


def _scaled(value: float | None, measure: Measure) -> float:
    scaled = (value or 0.0) * measure.factor
    if measure.least is not None:
        scaled = max(scaled, measure.least)
    return scaled if measure.most is None else min(scaled, measure.most)


def _text(value: float, measure: Measure) -> str:
    return f"{value:{measure.form}} {measure.unit}".strip()
