"""Charts of the speed model, as one page that needs nothing from outside.

1. The roofline of decode: what a token costs on external memory, where every step reads the weights, beside SRAM, where
   nothing is read and the chain of layers is what remains. Why ten times faster is not ten times more bandwidth.
2. Throughput against interactivity: each silicon's choice between many users and fast ones.
3. Time per token against the length of the context.

Every curve carries the 80 % interval of its prediction as a band.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import plotly.graph_objects as go

from headrace.errors import ModelRangeError
from headrace.perf import Estimate, Load, Place, ServedEstimate, closed_loop, weight_bytes
from headrace.study.style import COLOURS, chart_html, faint, log_figure, page

CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTEXTS = (500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 120000)
Point = tuple[float, float, float, float]  # x, y, low, high


def write_page(path: Path, places: Sequence[Place], input_tokens: int, output_tokens: int) -> None:
    """Draw the three charts of these places, all of one model, into one HTML page."""
    model = places[0].deployment.model.name
    figures = [
        roofline_chart(places, output_tokens),
        frontier_chart(places, input_tokens, output_tokens),
        context_chart(places, output_tokens),
    ]
    asked = f"{input_tokens:,} tokens in, {output_tokens:,} out"
    lead = f"Predictions of headrace for one replica each; {asked}. Bands are 80 % intervals."
    body = "\n".join(chart_html(figure) for figure in figures)
    path.write_text(page(f"{model} on mixed silicon", lead, body), encoding="utf-8")


def roofline_chart(places: Sequence[Place], output_tokens: int) -> go.Figure:
    """Time per token against users who share the replica; dotted: what peak bandwidth alone would allow."""
    figure = _figure(
        "1. What a token takes: reading the weights, or passing the layers",
        "users that share one replica",
        "time per output token, ms",
    )
    for index, place in enumerate(places):
        points = _curve(place, CLIENTS, lambda users: Load(1000, output_tokens, users), _per_token)
        _draw(figure, place, points, COLOURS[index % len(COLOURS)])
        deployment = place.deployment
        chip = deployment.accelerator
        if chip is not None and chip.memory_bandwidth_bytes_per_s is not None:
            floor_ms = weight_bytes(deployment) / (deployment.count * chip.memory_bandwidth_bytes_per_s) * 1000.0
            figure.add_trace(
                go.Scatter(
                    x=[CLIENTS[0], CLIENTS[-1]],
                    y=[floor_ms, floor_ms],
                    mode="lines",
                    line={"dash": "dot", "width": 1.5, "color": COLOURS[index % len(COLOURS)]},
                    name=f"{deployment.name}, one sweep of the weights",
                )
            )
    figure.add_annotation(
        text="Dotted: every weight read once at peak bandwidth. External memory lives just above its line;<br>"
        "SRAM's line lies hundreds of times below what is reached: there the chain of layers is the limit.",
        xref="paper",
        yref="paper",
        x=0.02,
        y=0.36,
        showarrow=False,
        align="left",
        font={"size": 13, "color": "#52606d"},
    )
    return figure


def frontier_chart(places: Sequence[Place], input_tokens: int, output_tokens: int) -> go.Figure:
    """Tokens per second and chip against tokens per second and user; users grow from right to left."""
    figure = _figure(
        "2. Many users or fast ones: each silicon's frontier",
        "tokens/s each user sees",
        "output tokens/s per chip",
    )
    for index, place in enumerate(places):
        found = _served(place, [Load(input_tokens, output_tokens, users) for users in CLIENTS])
        xs = [1.0 / served.tpot.value for _, served in found]
        ys = [served.tokens_per_s(load) / place.accelerators for load, served in found]
        users = [f"{load.concurrency:.0f}" for load, _ in found]
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=ys,
                mode="lines+markers+text",
                text=users,
                textposition="top center",
                textfont={"size": 10},
                name=place.deployment.name,
                line={"width": 2.5, "color": COLOURS[index % len(COLOURS)]},
                hovertemplate="%{text} users: %{x:.0f} tok/s each, %{y:.0f} tok/s per chip",
            )
        )
    return figure


def context_chart(places: Sequence[Place], output_tokens: int) -> go.Figure:
    """Time per token of one user against the length of the prompt."""
    figure = _figure("3. Longer contexts: time per token of one user", "input tokens", "time per output token, ms")
    for index, place in enumerate(places):
        points = _curve(place, CONTEXTS, lambda tokens: Load(int(tokens), output_tokens, 1), _per_token)
        _draw(figure, place, points, COLOURS[index % len(COLOURS)])
    return figure


def _per_token(served: ServedEstimate) -> Estimate:
    return served.tpot


def _served(place: Place, loads: Sequence[Load]) -> list[tuple[Load, ServedEstimate]]:
    """What can be served of these loads; what cannot (the cache is full, the context too long) is left out."""
    found = []
    for load in loads:
        try:
            found.append((load, closed_loop(place, [load])[0]))
        except ModelRangeError:
            continue
    return found


def _curve(
    place: Place,
    values: Sequence[int],
    load: Callable[[int], Load],
    of: Callable[[ServedEstimate], Estimate],
) -> list[Point]:
    points: list[Point] = []
    for value in values:
        for _, served in _served(place, [load(value)]):
            estimate = of(served)
            points.append((value, estimate.value * 1000.0, estimate.low * 1000.0, estimate.high * 1000.0))
    return points


def _draw(figure: go.Figure, place: Place, points: Sequence[Point], colour: str) -> None:
    if not points:
        return
    xs = [point[0] for point in points]
    band = [point[3] for point in points] + [point[2] for point in reversed(points)]
    figure.add_trace(
        go.Scatter(
            x=xs + xs[::-1],
            y=band,
            fill="toself",
            mode="lines",
            fillcolor=faint(colour),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.add_trace(
        go.Scatter(
            x=xs,
            y=[point[1] for point in points],
            mode="lines+markers",
            name=place.deployment.name,
            line={"width": 2.5, "color": colour},
            hovertemplate="%{x}: %{y:.2f} ms",
        )
    )


def _figure(title: str, x: str, y: str) -> go.Figure:
    return log_figure(
        x,
        y,
        title={"text": title, "font": {"size": 19}, "x": 0.01},
        height=600,
        margin={"l": 80, "r": 30, "t": 60, "b": 130},
        legend={"orientation": "h", "y": -0.17, "x": 0.0, "yanchor": "top", "font": {"size": 12}},
    )
