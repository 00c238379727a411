"""The validation as one page: every prediction against its measurement, a chart for each section, quantity and way of
judging.

Both axes are logarithms over the same range, so the diagonal is the truth and a relative error is a distance from it,
the same everywhere; a band shows 25 %. A hollow point lies outside its 80 % interval: a fifth of them should. Points
that the fit had seen are left out, for they say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10
from pathlib import Path

import plotly.graph_objects as go

from headrace.bench.validation import Row, Section, Subject, score_of
from headrace.study.style import AXIS, COLOURS, FONT, chart_html, log_figure, page

BAND = 0.25
SEEN = "in sample"
QUANTITIES = {"TPOT": ("TPOT, ms", 1000.0), "TTFT": ("TTFT, s", 1.0), "tokens/s": ("output tokens/s", 1.0)}
PLAIN_WORDS = {"later": "looked up after the fit", "second half": "second half of the arrivals"}
MANY = 400  # points from which they are drawn small
WIDE_DECADES = 2.5  # range from which only decades are labelled
Panel = tuple[str, str, list[Row]]  # how it was judged, the quantity, the points


def write_scatter(path: Path, sections: Sequence[Section]) -> int:
    """Draw every point of these sections into one HTML page; returns how many there are."""
    found = [(section, panels(section)) for section in sections]
    drawn = sum(len(rows) for _, of in found for _, _, rows in of)
    body = "\n".join(_section_html(section, of) for section, of in found if of)
    lead = (
        f"{drawn:,} predictions, each by a fit that had not seen the measurement. On the diagonal they are right; the "
        "grey band is 25 % either way. Filled: the measurement lies in the prediction's 80 % interval (or there is no "
        "interval); hollow: outside. Point at a dot to see what it is; click a name to hide its dots."
    )
    path.write_text(page("Predicted against measured", lead, body + _SCRIPT, _STYLE), encoding="utf-8")
    return drawn


def panels(section: Section) -> list[Panel]:
    """The charts of a section: its points by way of judging and quantity, in the order of its rows."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in section.rows:
        if row.subject is not None and row.judged != SEEN:
            found.setdefault((row.judged, row.subject.quantity), []).append(row)
    return [(judged, quantity, rows) for (judged, quantity), rows in found.items()]


def scatter_chart(quantity: str, rows: Sequence[Row], colours: dict[str, str]) -> go.Figure:
    """Predicted against measured, with the diagonal and its band."""
    unit, factor = QUANTITIES[quantity]
    values = [value * factor for row in rows for value in (row.measured, row.predicted)]
    low, high = min(values) / 1.25, max(values) * 1.25
    figure = log_figure(f"measured {unit}", f"predicted {unit}", **_layout(low, high))
    _draw_band(figure, low, high)
    of = {name: [row for row in rows if row.subject is not None and row.subject.silicon == name] for name in colours}
    for name in sorted(colours, key=lambda name: -len(of[name])):  # few points lie above many
        if of[name]:
            _draw_points(figure, name, colours[name], of[name], factor, many=len(rows) > MANY)
    return figure


def _layout(low: float, high: float) -> dict[str, object]:
    span = [log10(low), log10(high)]
    dtick = 1 if span[1] - span[0] > WIDE_DECADES else "D2"
    axis = {**AXIS, "range": span, "dtick": dtick, "exponentformat": "none", "tickfont": {"size": 12}}
    return {
        "xaxis": axis,
        "yaxis": axis,
        "showlegend": False,
        "autosize": True,
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"size": 12}},
        "margin": {"l": 62, "r": 12, "t": 8, "b": 50},
        "font": {**FONT, "size": 13},
    }


def _draw_band(figure: go.Figure, low: float, high: float) -> None:
    ends = [low, high]
    edge = [low * (1.0 + BAND), high * (1.0 + BAND), high * (1.0 - BAND), low * (1.0 - BAND)]
    quiet = {"mode": "lines", "hoverinfo": "skip"}
    band = {"fill": "toself", "fillcolor": "rgba(154,165,177,0.22)", "line": {"width": 0}}
    figure.add_trace(go.Scatter(x=[low, high, high, low], y=edge, **quiet, **band))
    figure.add_trace(go.Scatter(x=ends, y=ends, line={"width": 1.2, "color": "#52606d"}, **quiet))


def _draw_points(figure: go.Figure, name: str, colour: str, rows: Sequence[Row], factor: float, many: bool) -> None:
    figure.add_trace(
        go.Scatter(
            x=[_digits(row.measured * factor) for row in rows],
            y=[_digits(row.predicted * factor) for row in rows],
            text=[_hover(row, row.subject, factor) for row in rows if row.subject is not None],
            mode="markers",
            name=name,
            marker={
                "size": 5 if many else 8,
                "color": colour,
                "opacity": 0.45 if many else 0.7,
                "symbol": ["circle-open" if _is_outside(row) else "circle" for row in rows],
            },
            hovertemplate="%{text}<extra></extra>",
        )
    )


def _digits(value: float) -> float:
    """Five digits: no eye sees more, and the page stays small."""
    return float(f"{value:.5g}")


def _is_outside(row: Row) -> bool:
    return row.low is not None and row.high is not None and not row.low <= row.measured <= row.high


def _hover(row: Row, subject: Subject, factor: float) -> str:
    between = "" if row.low is None or row.high is None else f" ({row.low * factor:.3g} to {row.high * factor:.3g})"
    return (
        f"<b>{escape(subject.model)}</b> on {escape(subject.silicon)}, {escape(subject.software)}<br>"
        f"{escape(subject.load)}<br>measured {row.measured * factor:.3g}, predicted {row.predicted * factor:.3g}"
        f"{between}, {row.error:+.0%}"
    )


def _section_html(section: Section, of: Sequence[Panel]) -> str:
    names = sorted({row.subject.silicon for _, _, rows in of for row in rows if row.subject is not None})
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    keys = "".join(
        f'<button class="key" data-name="{escape(name)}"><i style="background:{colour}"></i>{escape(name)}</button>'
        for name, colour in colours.items()
    )
    charts = "\n".join(_panel_html(panel, colours) for panel in of)
    about = escape(section.about[:1].upper() + section.about[1:])
    fitted = (
        f"section {escape(section.name)}; free parameters: {section.parameters:,}; points fitted: {section.points:,}"
    )
    head = f'<h2>{about}</h2><p>{fitted}</p><div class="keys">{keys}</div>'
    return f'<section>{head}<div class="grid">{charts}</div></section>'


def _panel_html(panel: Panel, colours: dict[str, str]) -> str:
    judged, quantity, rows = panel
    score = score_of("all", judged, rows)
    inside = "no interval" if score.inside is None else f"<b>{_percent(score.inside)}</b> inside the interval"
    errors = f"median error <b>{_percent(score.median_error, 1)}</b>, {_percent(score.within_25)} within 25 %"
    facts = f"{score.n:,} points, {errors}, {inside}"
    how = PLAIN_WORDS.get(judged, judged)
    title = escape(how if how.startswith(quantity) else f"{quantity}, {how}")
    chart = chart_html(scatter_chart(quantity, rows, colours))
    return f'<figure><figcaption><h3>{title}</h3>{facts}</figcaption><div class="plot">{chart}</div></figure>'


def _percent(share: float, digits: int = 0) -> str:
    return f"{100.0 * share:.{digits}f} %"


_STYLE = """
html{overflow-y:scroll}
h2{font-size:20px;margin:34px 0 2px;border-top:1px solid #e4e7eb;padding-top:18px}
h3{font-size:15px;margin:0;color:#1f2933}
.grid{display:grid;grid-template-columns:1fr 1fr;gap:24px}@media(max-width:820px){.grid{grid-template-columns:1fr}}
figure{margin:0;min-width:0}figcaption{font-size:13px;color:#52606d;margin:0 0 4px}
.plot{height:min(96vw,460px)}.plot>div{height:100%}
.keys{margin:0 0 12px}.key{font:inherit;font-size:13px;border:1px solid #cbd2d9;border-radius:12px;background:#fff;
color:#1f2933;padding:2px 10px;margin:0 6px 6px 0;cursor:pointer}.key.off{opacity:.4}
.key i{display:inline-block;width:10px;height:10px;border-radius:5px;margin-right:6px}
"""

_SCRIPT = """<script>
for (const key of document.querySelectorAll(".key")) key.onclick = () => {
  const off = key.classList.toggle("off");
  for (const plot of key.closest("section").querySelectorAll(".js-plotly-plot")) {
    const hit = plot.data.flatMap((trace, index) => trace.name === key.dataset.name ? [index] : []);
    if (hit.length) Plotly.restyle(plot, {visible: !off}, hit);
  }
};
</script>"""
