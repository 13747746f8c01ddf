"""The accuracy of each class."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ssl_mnist.intervals import wilson
from ssl_mnist.plots.class_names import bars_width, name_x
from ssl_mnist.plots.figure import COLOURS, MAX_CLASSES, new_figure
from ssl_mnist.plots.text import cut, wrap


def per_class_accuracy(accuracy: Sequence[float], counts: Sequence[int], classes: Sequence[str], title: str) -> Figure:
    """K accuracies as bars with 95 % Wilson intervals, `counts` being the K numbers of images they are measured on.

    Of more than 20 classes the 20 with the lowest accuracy are shown, sorted. A class without images has no bar.
    The axis begins at 0 unless every interval lies above 50 %; where it does not, its label says so.
    """
    present = [k for k in range(len(classes)) if counts[k]]
    mean = float(np.mean([accuracy[k] for k in present]))
    many = len(classes) > MAX_CLASSES
    if many:
        shown = sorted(present, key=lambda k: accuracy[k])[:MAX_CLASSES]
        title = f"{title}\nthe {len(shown)} classes with the lowest accuracy, of {len(classes):,}"
    else:
        shown = present
    values = np.array([accuracy[k] for k in shown])
    low, high = np.array([wilson(accuracy[k], counts[k]) for k in shown]).T
    margins = np.abs(np.array([values - low, high - values]))
    start = math.floor(100 * (low.min() - 0.25 * (1 - low.min()))) / 100 if low.min() > 0.5 else 0.0
    end = max(high.max(), mean)
    limits = (start, end + 0.1 * (end - start))
    label = "accuracy, with 95 % interval" + (f" (axis begins at {100 * start:.0f} %)" if start else "")
    numbers = [f"{100 * value:.1f}" for value in values]
    error: dict[str, Any] = {"fmt": "none", "ecolor": "black", "elinewidth": 1, "capsize": 2}
    line: dict[str, Any] = {"color": COLOURS[3], "linewidth": 1.2, "zorder": 0.5}

    if many:
        figure, (axes,) = new_figure(title, 7, 1.4 + 0.24 * len(shown))
        places = np.arange(len(shown))
        axes.barh(places, values, color=COLOURS[0])
        axes.errorbar(values, places, xerr=margins, **error)
        for place, number, right in zip(places, numbers, high, strict=True):
            axes.annotate(number, (right, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(places, [cut(classes[k], 150, 9) for k in shown], fontsize=9)
        axes.set(xlabel=label, xlim=limits, ylim=(len(shown) - 0.4, -0.6))
        axes.axvline(mean, label=f"mean of all classes: {100 * mean:.1f} %", **line)
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), fontsize=9, borderaxespad=0)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
        return figure

    width = bars_width(len(classes))
    figure, (axes,) = new_figure(title, width, 4.2)
    axes.bar(shown, values, color=COLOURS[0])
    axes.errorbar(shown, values, yerr=margins, **error)
    for k, number, top in zip(shown, numbers, high, strict=True):
        axes.annotate(number, (k, top), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    name_x(axes, classes, 72 * (width - 1))
    axes.set(xlabel="class", ylim=limits)
    axes.set_ylabel(wrap(label, 200, 10))
    axes.axhline(mean, label=f"mean of the classes: {100 * mean:.1f} %", **line)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), fontsize=9, borderaxespad=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
    return figure
