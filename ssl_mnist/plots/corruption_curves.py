"""Accuracy on corrupted images."""

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from ssl_mnist.plots.figure import COLOURS, spaced
from ssl_mnist.plots.text import wrap


def robustness(corruptions: Mapping[str, Mapping[str, Any]], probes: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Accuracy against strength, a panel a corruption: solid lines for the encoder, dashed for the untrained one, a colour a probe.

    corruptions: by name, what a `strength` is, its `strengths`, and the one that changes `none`; probes: by score, its `title`, accuracies
    on the images as they are, `clean` and `untrained_clean`, and by corruption those at each strength, `accuracy` and `untrained`.
    """
    columns = min(4, len(corruptions))
    rows = math.ceil(len(corruptions) / columns)
    width = max(2.6 * columns, 5)
    figure = Figure(figsize=(width, 2.5 * rows + 0.8), layout="constrained")
    figure.suptitle(wrap(title, 72 * width - 16, 11), fontsize=11)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(corruptions) :]:
        axes.set_axis_off()
    for axes, (name, about) in zip(grid.flat, corruptions.items(), strict=False):
        x = range(len(about["strengths"]) + 1)
        for i, probe in enumerate(probes.values()):
            for kind, clean, dash, of in (("accuracy", "clean", "-", ""), ("untrained", "untrained_clean", "--", ", untrained encoder")):
                y = [100 * value for value in (probe[clean], *probe[kind][name])]
                label = f"{probe['title']}{of}"
                axes.plot(x, y, dash, color=COLOURS[i % 10], label=label, marker="o", markersize=3, linewidth=1.5)
        axes.set_title(spaced(name), fontsize=10)
        axes.set_xticks(x, [f"{value:g}" for value in (about["none"], *about["strengths"])], fontsize=8)
        axes.set_xlabel(wrap(about["strength"], 72 * width / columns - 40, 8), fontsize=8)
        axes.tick_params(axis="y", labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy, %", fontsize=9)
    grid[0, 0].set_ylim(0, 101)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 2 if columns < 4 else 4), frameon=False, fontsize=9)
    return figure
