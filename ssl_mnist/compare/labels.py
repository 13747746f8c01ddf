"""How few labels suffice: the page's section of accuracy by the number of labels, a panel a way of using them, a line a configuration."""

import plotly.graph_objects as go

from ssl_mnist.compare.runs import Run
from ssl_mnist.compare.statistics import estimate
from ssl_mnist.label_curves import Point, label_curves


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


def draw(figure: go.Figure, lines: dict[str, list[Point]], colours: list[str]) -> None:
    """Add a line a configuration to a figure whose axes are named; accuracies in percent."""
    for i, (name, points) in enumerate(lines.items()):
        bars = [0 if point.half_width != point.half_width else 100 * point.half_width for point in points]  # nan: a single draw
        figure.add_scatter(
            x=[point.num for point in points],
            y=[100 * point.accuracy for point in points],
            error_y={"type": "data", "array": bars, "thickness": 1},
            name=name,
            mode="lines+markers",
            line={"color": colours[i % len(colours)]},
        )
    ticks = sorted({point.num for points in lines.values() for point in points})
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{num:,}" for num in ticks])
