"""Accuracy by the number of labels, read from the scores of a summary, and drawn: how few labels suffice."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ssl_mnist.intervals import half_width
from ssl_mnist.plots.figure import COLOURS, MARKERS, new_figure

LEAST_POINTS = 3  # of a curve


class Point(NamedTuple):
    num: int  # of labels
    accuracy: float  # mean over draws
    half_width: float  # of its 95 % confidence interval over the draws (Student's t); nan for a single draw


def label_curves(summary: Mapping[str, Any], split: str) -> dict[str, list[Point]]:
    """By way of using labels, such as "linear probe", its points in the order of their numbers; ways with fewer than three are left out.

    Read from scores named `<split>/<way>_<n>_labels_accuracy`. Where there is one of all of train's labels, it is the last point.
    """
    found: dict[str, list[Point]] = {}
    for key, about in summary["scores"].items():
        named = re.fullmatch(rf"{split}/(.+)_(\d+|all)_labels(?:_tta\d+)?_accuracy", key)
        if not named or key not in summary:
            continue
        num = summary.get("data/train_size") if named[2] == "all" else int(named[2])
        if num is None:
            continue
        found.setdefault(about["title"].rpartition(", ")[0], []).append(
            Point(num, summary[key], _half_width(summary, key, about.get("draws", 1)))
        )
    return {way: sorted(points) for way, points in found.items() if len(points) >= LEAST_POINTS}


def _half_width(summary: Mapping[str, Any], key: str, num_draws: int) -> float:
    std = summary.get(f"{key.removesuffix('_accuracy')}_std")
    return math.nan if std is None else half_width(std, num_draws)


def label_efficiency(ways: Mapping[str, Sequence[tuple[int, float, float]]], title: str) -> Figure:
    """Accuracy against the number of labels, on a logarithmic axis; a line a way of using them.

    A point is (labels, accuracy, half width of its interval); both are fractions, the half width may be nan.
    """
    figure, (axes,) = new_figure(title, 7.4, 4.6)
    for i, (name, points) in enumerate(ways.items()):
        numbers, accuracy, half_width = zip(*points, strict=True)
        axes.errorbar(
            numbers,
            accuracy,
            yerr=np.nan_to_num(half_width),
            label=name,
            color=COLOURS[i % 10],
            marker=MARKERS[i % 5],
            markersize=4,
            capsize=3,
        )
    axes.set_xscale("log")
    ticks = sorted({point[0] for points in ways.values() for point in points})
    axes.set_xticks(ticks, [f"{num:,}" for num in ticks])
    axes.minorticks_off()
    axes.tick_params(axis="x", labelsize=8, rotation=30 if len(ticks) > 8 else 0)
    axes.set_xlabel("labelled images")
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", framealpha=0.7, edgecolor="none", fontsize=8)
    return figure
