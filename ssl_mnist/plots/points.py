"""Embeddings in two dimensions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from ssl_mnist.plots.figure import COLOURS, MARKERS, MAX_CLASSES, new_figure
from ssl_mnist.plots.text import cut, width_of


def scatter(
    points: np.ndarray,
    labels: np.ndarray | None,
    classes: Sequence[str] | None,
    title: str,
    axis_names: tuple[str, str] = ("", ""),
    wrong: np.ndarray | None = None,
) -> Figure:
    """Points (N, 2) coloured by label (N,), with class names at the medians; one colour where there are no classes.

    Names that would overlap are moved aside and joined to their median by a line. Of more than 20 classes only the 20
    with the most points are named, and there is no legend of classes. `wrong` (N,) marks misclassified points by crosses.
    """
    figure, (axes,) = new_figure(title, 7.2, 5.8)
    number = len(points)
    size, alpha = float(np.clip(24_000 / number, 5, 30)), float(np.clip(2_000 / number, 0.5, 0.9))
    order = np.random.default_rng(0).permutation(number)  # no class is drawn above all others
    handles, names = [], []
    if labels is None or classes is None:
        axes.scatter(points[:, 0], points[:, 1], s=size, alpha=alpha, color=COLOURS[0], linewidths=0)
    else:
        colours = np.array(COLOURS)[labels % 10]
        for i, marker in enumerate(MARKERS):
            mine = order[labels[order] // 10 % len(MARKERS) == i]
            if len(mine):
                axes.scatter(points[mine, 0], points[mine, 1], s=size, alpha=alpha, c=list(colours[mine]), marker=marker, linewidths=0)
        if len(classes) <= MAX_CLASSES:
            names = [cut(name, 120, 9) for name in classes]
            handles = [Line2D([], [], color=COLOURS[k % 10], marker=MARKERS[k // 10], linestyle="") for k in range(len(classes))]
    if wrong is not None and wrong.any():
        axes.scatter(points[wrong, 0], points[wrong, 1], s=14, color="black", marker="x", linewidths=0.8)
        handles.append(Line2D([], [], color="black", marker="x", linestyle="", markersize=4))
        names.append(f"misclassified ({wrong.sum():,})")
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1], xticks=[], yticks=[])
    if handles:
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
        if len(handles) == 1:  # the crosses alone
            place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0}
        axes.legend(handles, names, frameon=False, fontsize=9, **place)
    if labels is not None and classes is not None:
        present = np.bincount(labels, minlength=len(classes))
        largest = [k for k in np.argsort(-present, kind="stable") if present[k]][:MAX_CLASSES]
        medians = [np.median(points[labels == k], axis=0) for k in largest]
        reach = 14 if len(classes) <= MAX_CLASSES else 4
        _place_names(figure, axes, medians, [classes[k] for k in largest], [COLOURS[k % 10] for k in largest], reach)
    return figure


def _place_names(
    figure: Figure, axes: Axes, positions: Sequence[np.ndarray], names: Sequence[str], colours: Sequence[str], reach: int
) -> None:
    """Write names, framed in colours, at positions (2,) of the axes.

    A name that would overlap one before it moves to the nearest free place at most `reach` × 8 points away, or is left out.
    """
    size = 12 if max(len(name) for name in names) <= 3 else 9
    figure.draw_without_rendering()  # the layout decides how large the axes are
    points = 72 / figure.dpi
    frame = axes.get_window_extent()
    placed: list[Bbox] = []
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    steps = [(0.0, 0.0)] + [(r * math.cos(a), r * math.sin(a)) for r in range(1, reach + 1) for a in angles]
    for position, full, colour in zip(positions, names, colours, strict=True):
        name = cut(full, 130, size)
        width, height = (width_of(name, size, "bold") + 6) / points, (1.2 * size + 5) / points
        x, y = axes.transData.transform(position)
        for dx, dy in steps:
            left, bottom = x + dx * 8 / points - width / 2, y + dy * 8 / points - height / 2
            box = Bbox.from_bounds(left, bottom, width, height)
            if frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 and not box.count_overlaps(placed):
                break
        else:
            continue  # no room near the position: the name is left out
        placed.append(box)
        shift: dict[str, Any] = {"xy": position, "xytext": (dx * 8, dy * 8), "textcoords": "offset points"}
        if dx or dy:
            axes.annotate("", **shift, arrowprops={"arrowstyle": "-", "linewidth": 0.8}, zorder=3)  # below every name
        axes.annotate(
            name,
            **shift,
            zorder=4,
            ha="center",
            va="center",
            fontsize=size,
            weight="bold",
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": colour, "pad": 1.5},
        )
