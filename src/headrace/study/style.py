"""How charts look: one font, one palette, light paper; and the page that holds them, with all that it needs."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.offline import get_plotlyjs

COLOURS: Sequence[str] = qualitative.D3
FONT = {"family": "Inter, Helvetica, Arial, sans-serif", "size": 14, "color": "#1f2933"}
PLAIN = {"displayModeBar": False, "responsive": True}
AXIS = {"type": "log", "gridcolor": "#e4e7eb", "linecolor": "#9aa5b1", "ticks": "outside"}


def log_figure(x: str, y: str, **layout: object) -> go.Figure:
    """An empty chart with two logarithmic axes of these names."""
    axis = {**AXIS, "dtick": "D2"}
    figure = go.Figure(
        layout={
            "xaxis": {**axis, "title": x},
            "yaxis": {**axis, "title": y},
            "font": FONT,
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
        }
    )
    return figure.update_layout(**layout)


def faint(colour: str, opacity: float = 0.13) -> str:
    """A `#rrggbb` colour, mostly transparent."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def chart_html(figure: go.Figure) -> str:
    """A chart as a part of a page; `page` brings the library along."""
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=PLAIN))


def page(title: str, lead: str, body: str, style: str = "") -> str:
    """A whole page, library included.

    Args:
        title: plain text, escaped already if it came from outside.
        style: CSS of this page alone.
    """
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font-family:{FONT["family"]};max-width:1080px;margin:24px auto;padding:0 14px;color:#1f2933;
background:#fff}}
h1{{font-size:26px;margin-bottom:4px}}p{{color:#52606d;margin-top:0}}{style}</style>
<script>{get_plotlyjs()}</script></head>
<body><h1>{title}</h1>
<p>{lead}</p>
{body}
</body></html>
"""
