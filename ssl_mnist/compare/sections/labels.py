"""How few labels suffice: accuracy by the number of labels, a panel a way of using them, a line a configuration."""

import plotly.graph_objects as go

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.runs import Run
from ssl_mnist.compare.sections import plot
from ssl_mnist.compare.sections.references import as_lines, dash
from ssl_mnist.intervals import estimate
from ssl_mnist.pages import Note, Panels, Part, Section
from ssl_mnist.plots import Point, label_curves


def section(comparison: Comparison) -> Section | None:
    parts = label_parts(comparison, list(comparison.groups))
    return Section("labels", "How few labels suffice", parts) if parts else None


def label_parts(comparison: Comparison, order: list[str]) -> list[Part]:
    """Nothing where no run has probes with few labels. order: all configurations of the page, by which each has its colour."""
    groups, note = plot.drawn(comparison.groups, comparison.ranking)
    own = panels(groups, comparison.split)
    if not own:
        return []
    found = {way: lines for way, lines in panels(groups | as_lines(comparison), comparison.split).items() if way in own}
    plots = {}
    for way, lines in found.items():
        figure = plot.new_figure("labelled images", f"{comparison.split} accuracy, %", 320)
        _draw(figure, lines, order)
        dash(figure)
        plots[way] = plot.plot(figure, plot.NARROW if len(found) > 1 else plot.WIDE)
    note += (
        "The same labelled images for all. 95 % intervals over seeds, or over draws where there is one seed. The axes do not begin at 0."
    )
    return [Panels(plots), Note(note)]


def panels(groups: dict[str, list[Run]], split: str) -> dict[str, dict[str, list[Point]]]:
    """By way and configuration, its points: of several seeds their mean and interval over seeds, of one that over its draws."""
    found: dict[str, dict[str, list[Point]]] = {}
    for name, runs in groups.items():
        by_way: dict[str, dict[int, list[Point]]] = {}
        for run in runs:
            for way, points in label_curves(run.summary, split).items():
                for point in points:
                    by_way.setdefault(way, {}).setdefault(point.num, []).append(point)
        for way, numbers in by_way.items():
            found.setdefault(way, {})[name] = [_over_seeds(points) for points in numbers.values()]
    return found


def _over_seeds(points: list[Point]) -> Point:
    if len(points) == 1:
        return points[0]
    over = estimate([point.accuracy for point in points])
    return Point(points[0].num, over.mean, over.half_width)


def _draw(figure: go.Figure, lines: dict[str, list[Point]], order: list[str]) -> None:
    """Add a line a configuration, and one a reference, to a figure whose axes are named; accuracies in percent."""
    for name, points in lines.items():
        bars = [0 if point.half_width != point.half_width else 100 * point.half_width for point in points]  # nan: a single draw
        figure.add_scatter(
            x=[point.num for point in points],
            y=[100 * point.accuracy for point in points],
            error_y={"type": "data", "array": bars, "thickness": 1},
            name=plot.text(name),
            mode="lines+markers",
            line=plot.line(order.index(name)) if name in order else None,
        )
    ticks = sorted({point.num for points in lines.values() for point in points})
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{num:,}" for num in ticks])
