"""What the encoder made of held-out images, over epochs."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ssl_mnist.plots.figure import COLOURS, DASHES


def health(history: Sequence[Mapping[str, float]], titles: Mapping[str, str]) -> Figure:
    """A panel for each measure that rows of metrics hold: `health/<name>` of the embedding, `health/projection_<name>` of the projection.

    titles: of the measures, by name.
    """
    shown = [name for name in titles if any(f"health/{name}" in row for row in history)]
    rows = math.ceil(len(shown) / 2)
    figure = Figure(figsize=(7.6, 0.8 + 1.75 * rows), layout="constrained")
    figure.suptitle("What the encoder makes of held-out images", fontsize=11)
    panels = figure.subplots(rows, 2, sharex=True, squeeze=False).flatten()
    for axes, name in zip(panels, shown, strict=False):
        for i, (prefix, label) in enumerate({"": "embedding", "projection_": "projection"}.items()):
            key = f"health/{prefix}{name}"
            points = [(row["epoch"], row[key]) for row in history if key in row]
            if points:
                marker = "o" if len(points) < 15 else None
                axes.plot(*zip(*points, strict=True), label=label, color=COLOURS[i], linestyle=DASHES[i], marker=marker, markersize=3)
        axes.set_title(titles[name], fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(axes.lines) > 1:
            axes.legend(framealpha=0.7, edgecolor="none", fontsize=8)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(shown) - 2) : len(shown)]:
        axes.set_xlabel("epoch", fontsize=9)
        axes.tick_params(labelbottom=True)
    return figure
