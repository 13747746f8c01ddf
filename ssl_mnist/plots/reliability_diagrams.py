"""How often a prediction of a confidence is right."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ssl_mnist.plots.figure import COLOURS
from ssl_mnist.plots.text import wrap


def reliability(diagrams: Mapping[str, Mapping[str, Any]], split: str) -> Figure:
    """Accuracy against confidence, a panel a probe (Guo et al. 2017, figure 1), above the share of predictions in each bin.

    diagrams: by score, its `title` and `ece`, and by bin of equal width `num`, `accuracy` and `confidence`, None where num is 0.
    """
    width = max(3.4 * len(diagrams), 4.2)
    figure = Figure(figsize=(width, 5), layout="constrained")
    figure.suptitle(wrap(f"How often a prediction of a confidence is right ({split})", 72 * width - 16, 11), fontsize=11)
    grid = figure.subplots(2, len(diagrams), sharex=True, squeeze=False, height_ratios=[3, 1])
    for (above, below), about in zip(grid.T, diagrams.values(), strict=True):
        bins = len(about["num"])
        left, share = np.arange(bins) / bins, np.array(about["num"]) / max(sum(about["num"]), 1)
        filled = [i for i in range(bins) if about["num"][i]]
        accuracy, confidence = (np.array([about[key][i] for i in filled], float) for key in ("accuracy", "confidence"))
        place: dict[str, Any] = {"width": 1 / bins, "align": "edge", "edgecolor": "white", "linewidth": 0.5}
        above.bar(left[filled], accuracy, color=COLOURS[0], label="accuracy", **place)
        above.plot(confidence, confidence, "_", color=COLOURS[3], markersize=8, markeredgewidth=2, label="mean confidence")
        above.plot([0, 1], [0, 1], ":", color="black", linewidth=1, label="calibrated")
        above.set_title(wrap(f"{about['title']}: ECE {100 * about['ece']:.2f} %", 72 * width / len(diagrams) - 40, 10), fontsize=10)
        above.set(xlim=(0, 1), ylim=(0, 1.02))
        below.bar(left, share, color=COLOURS[8], **place)
        below.set(xlabel="confidence", yscale="log", ylim=(0.5 / max(sum(about["num"]), 1), 2))
        for axes in (above, below):
            axes.grid(alpha=0.3)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
        below.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel(f"of all, in {len(next(iter(diagrams.values()))['num'])} bins\n(logarithmic)", fontsize=9)
    grid[0, 0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure
