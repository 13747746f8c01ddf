"""What the plots share: plotly's figure, its colours, and texts that are no tags to it."""

import html
import math
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from ssl_mnist.compare.comparison import Score
from ssl_mnist.compare.runs import Run
from ssl_mnist.pages import Plot
from ssl_mnist.pages.chart import COLOURS

DASHES = ["solid", "dash", "dot", "dashdot"]  # and markers' shapes: from the ninth configuration on the colours come again
MAX_CURVES = 60  # so that a page of 500 runs stays small
MAX_LEGEND = 20
WIDE, NARROW = 1100, 340  # CSS pixels of a plot by itself, and of one of several panels


def new_figure(title_x: str, title_y: str, height: int = 380) -> go.Figure:
    figure = go.Figure()
    axis = {"gridcolor": "rgba(128,128,128,.25)", "zeroline": False, "automargin": True}
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#888", "family": "system-ui, sans-serif"},
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=height,
        xaxis={"title": {"text": text(title_x)}} | axis,
        yaxis={"title": {"text": text(title_y)}} | axis,
    )
    return figure


def plot(figure: go.Figure, width: int = WIDE, label: str = "") -> Plot:
    """Ready to be drawn, `width` CSS pixels wide; label: for screen readers, where the axes have no titles.

    There is room below for as many rows as the legend needs, its columns being as wide as its longest name. Long legends are left out,
    since a point tells its name where the mouse is.
    """
    names = [trace.name for trace in figure.data if trace.name]
    if len(names) > MAX_LEGEND:
        figure.update_layout(showlegend=False)
    elif len(names) > 1:
        rows = math.ceil(len(names) / max(1, width // (50 + 8 * max(map(len, names)))))
        legend = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
        figure.update_layout(height=figure.layout.height - 20 + 20 * rows, margin_b=60 + 20 * rows, legend=legend)
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True, "displayModeBar": False})
    axes = html.unescape(f"{figure.layout.yaxis.title.text} by {figure.layout.xaxis.title.text}")
    return Plot(Markup(drawn), label or axes)


def text(words: str, length: int = 60) -> str:
    """For plotly, whose texts know some HTML tags. A long text loses its middle, since names often differ at their end."""
    half = (length - 1) // 2
    return html.escape(words if len(words) <= length else f"{words[:half]}…{words[-half:]}", quote=False)


def ticks(values: list[str]) -> list[str]:
    """Short enough for an axis, and still all different."""
    short = [text(value, 30) for value in values]
    return short if len(set(short)) == len(values) else [text(value, 10_000) for value in values]


def colour(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)]}


def line(i: int) -> dict[str, Any]:
    return colour(i) | {"dash": DASHES[i // len(COLOURS) % len(DASHES)]}


def drawn(groups: dict[str, list[Run]], ranking: list[str]) -> tuple[dict[str, list[Run]], str]:
    """As many configurations as a plot can hold, the best of them, in their order; and a note on the rest."""
    if len(groups) <= MAX_CURVES:
        return groups, ""
    kept = set((ranking or list(groups))[:MAX_CURVES])
    return {name: runs for name, runs in groups.items() if name in kept}, f"The {MAX_CURVES} best of {len(groups)} configurations. "


def named(score: Score) -> str:
    return f"{score.split} {score.title}" + (", %" if score.is_accuracy else "")


def scaled(score: Score, value: float) -> float:
    return 100 * value if score.is_accuracy else value
