"""How often each class occurs in each split."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ssl_mnist.plots.class_names import bars_width, name_x
from ssl_mnist.plots.figure import COLOURS, MAX_CLASSES, new_figure
from ssl_mnist.plots.text import width_of


def class_distribution(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> Figure:
    """Each class's share of each split, `counts` being K numbers a split; the legend gives the sizes and the imbalance.

    Up to 20 classes are bars with their names; more are one line a split over the classes, the most frequent one first.
    """
    many = len(classes) > MAX_CLASSES
    width = 7.0 if many else bars_width(len(classes))
    labels = []
    for split, numbers in counts.items():
        absent = sum(number == 0 for number in numbers)
        spread = f"{absent} without an image" if absent else f"largest class {max(numbers) / min(numbers):.2f} times the smallest"
        labels.append(f"{split}: {sum(numbers):,} images, {spread}")
    width = max(width, (max(width_of(label, 9) for label in labels) + 110) / 72)
    figure, (axes,) = new_figure("How often each class occurs in each split", width, 3.8 + 0.2 * len(counts))
    first = np.array(next(iter(counts.values())))
    order = np.argsort(-first, kind="stable") if many else np.arange(len(classes))
    for i, (label, numbers) in enumerate(zip(labels, counts.values(), strict=True)):
        shares = np.array(numbers)[order] / max(sum(numbers), 1)
        if many:
            axes.plot(np.arange(1, len(classes) + 1), shares, label=label, color=COLOURS[i], drawstyle="steps-mid", zorder=3 - i / 10)
        else:
            bar = 0.8 / len(counts)
            axes.bar(np.arange(len(classes)) - 0.4 + (i + 0.5) * bar, shares, bar, label=label, color=COLOURS[i])
    if many:
        axes.set_xlabel(f"{len(classes):,} classes, the most frequent in {next(iter(counts))} first")
    else:
        axes.set_xlabel("class")
        name_x(axes, classes, 72 * (width - 1))
    axes.set_ylabel("share of the split")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=9)
    return figure
