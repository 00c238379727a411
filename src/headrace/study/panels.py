"""Pages of many small charts: each a panel with a title, in as many columns as the screen has room for.

The charts stand in the page as Plotly's own JSON, one list under the id `charts`, so that what is drawn can also be
read by a program.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from headrace.study.style import FONT

GRID, ZERO, MUTED = "#e4e7eb", "#9aa5b1", "#52606d"

PANELS_STYLE = """
html{overflow-y:scroll}
h2{font-size:21px;margin:34px 0 6px;border-top:2px solid #e4e7eb;padding-top:18px}
h3{font-size:18px;margin:30px 0 4px}
.answer p{color:#1f2933;font-size:17px;line-height:1.45;margin:10px 0}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(320px,100%),1fr));gap:10px 18px}
figure{margin:0;min-width:0;overflow:hidden}figcaption{font-size:14px;font-weight:600;margin:6px 0 0}
.aside{font-size:12px;margin:0}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:14px;margin:6px 0}
th,td{text-align:right;padding:5px 14px 5px 0;border-bottom:1px solid #e4e7eb}
th{color:#52606d;font-weight:600;vertical-align:bottom}td:last-child,td:first-child{white-space:nowrap}th:first-child,td:first-child{text-align:left}
li{color:#52606d;margin:4px 0;line-height:1.4}p{line-height:1.45}
"""

_DRAW = (
    "JSON.parse(document.getElementById('charts').textContent).forEach((chart,i)=>Plotly.newPlot('chart-'+i,"
    "chart.data,chart.layout,{displayModeBar:false,responsive:true}));"
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: its title, Plotly's own JSON of it, and what else is to be said below it."""

    title: str
    figure: dict[str, Any]
    aside: str = ""


class Charts:
    """The charts of one page, in the order in which they are placed."""

    def __init__(self) -> None:
        self._charts: list[dict[str, Any]] = []

    def placed(self, panels: Iterable[Panel]) -> str:
        """A row of panels, as HTML."""
        return f'<div class="panels">{"".join(self._placed(each) for each in panels)}</div>'

    def scripts(self) -> str:
        """What draws them all; goes behind the last one."""
        data = json.dumps(self._charts, separators=(",", ":")).replace("</", "<\\/")
        return f'<script type="application/json" id="charts">{data}</script><script>{_DRAW}</script>'

    def _placed(self, each: Panel) -> str:
        number = len(self._charts)
        self._charts.append({"title": each.title, **each.figure})
        aside = f'<p class="aside">{escape(each.aside)}</p>' if each.aside else ""
        return f'<figure><figcaption>{escape(each.title)}</figcaption><div id="chart-{number}"></div>{aside}</figure>'


def layout(height_px: int, x: dict[str, Any] | None = None, y: dict[str, Any] | None = None) -> dict[str, Any]:
    """A small chart's layout; `x` and `y` add to what all axes have."""
    axis = {"gridcolor": GRID, "linecolor": ZERO, "ticks": "outside", "zeroline": False, "automargin": True}
    return {
        "xaxis": {**axis, **(x or {})},
        "yaxis": {**axis, **(y or {})},
        "font": {**FONT, "size": 12},
        "height": height_px,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "showlegend": False,
        "hovermode": "closest",
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """A table that scrolls sideways where the screen is narrow; cells are HTML already.

    Args:
        style: a class of the table.
    """
    lines = ["".join(f"<th>{each}</th>" for each in head)]
    lines += ["".join(f"<td>{each}</td>" for each in row) for row in rows]
    kind = f' class="{style}"' if style else ""
    return f'<div class="wide"><table{kind}>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'
