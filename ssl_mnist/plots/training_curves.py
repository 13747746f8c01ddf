"""What training logged, over epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from ssl_mnist.plots.figure import COLOURS, DASHES, new_figure, spaced
from ssl_mnist.plots.text import cut, width_of, wrap


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    ylabel: str,
    xlabel: str = "epoch",
    chance: Mapping[str, float] | None = None,
) -> Figure:
    """Lines over a shared x axis; each series is its own (x, y), so it may have points where others have none.

    Series whose largest absolute values differ by more than a factor of 10 are drawn in separate panels.
    `chance` maps names of series to the value that guessing would reach, drawn as a dotted line in the panel of the series.
    """
    panels = _by_scale({name: y for name, (_, y) in series.items()})
    chance = chance or {}
    height = 4.2 if len(panels) == 1 else 2.7 * len(panels)
    outside = len(series) > 6  # beside the axes: inside it would hide the lines
    per_column = max(1, int((72 * height / len(panels) - 60) / 12))
    columns = max(math.ceil((len(panel) + 1) / per_column) for panel in panels)
    labels = {name: cut(name, 200, 8) for name in series}
    room = columns * (max(width_of(label, 8) for label in labels.values()) + 40) / 72 if outside else 0
    figure, top = new_figure(title, 6.4 + room, height, rows=len(panels))
    for axes, panel in zip(top, panels, strict=True):
        for name in panel:
            i = list(series).index(name)
            axes.plot(
                *series[name],
                label=labels[name],
                color=COLOURS[i % 10],
                linestyle=DASHES[i // 10 % 4],
                linewidth=1.5 + i // 40,
                marker="o" if len(series[name][0]) < 15 else None,
                markersize=4,
            )
        guesses = {chance[name] for name in panel if name in chance}
        for value in sorted(guesses):
            axes.axhline(value, color="black", linestyle=":", linewidth=1.5, label=f"chance: {value:.3g}")
        alone = len(panels) > 1 and len(panel) == 1
        axes.set_ylabel(wrap(panel[0] if alone else ylabel, 72 * height / len(panels) - 40, 10))
        axes.grid(alpha=0.3)
        if len(panel) > 1 or guesses:
            place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "ncols": columns} if outside else {"loc": "best"}
            axes.legend(frameon=not outside, framealpha=0.7, edgecolor="none", fontsize=8, **place)
    top[-1].set_xlabel(xlabel)
    return figure


def of_training(history: Sequence[Mapping[str, float]], chance: Mapping[str, float] | None = None) -> dict[str, Figure]:
    """`loss`, `learning_rate` and `pretext_metrics` (every other term of the method) from a run's metric rows.

    A row holds `epoch` and some of `pretrain/<term>`; terms may be missing in any row. `pretrain/lr` is the learning rate.
    `chance` maps terms (without `pretrain/`) to what guessing would reach: {"accuracy": 0.25} for four rotations.
    """
    columns: dict[str, tuple[list[float], list[float]]] = {}
    for row in history:
        for key, value in row.items():
            if key.startswith("pretrain/"):
                x, y = columns.setdefault(key.removeprefix("pretrain/"), ([], []))
                x.append(row["epoch"])
                y.append(value)
    for key in ("images_per_second", "epoch_loss"):
        columns.pop(key, None)
    rate = columns.pop("lr", None)
    losses = {spaced(name): column for name, column in columns.items() if "loss" in name}
    others = {spaced(name): column for name, column in columns.items() if "loss" not in name}
    guesses = {spaced(name): value for name, value in (chance or {}).items()}
    figures = {}
    if losses:
        figures["loss"] = curves(losses, "Pretraining loss", "loss", chance=guesses)
    if rate:
        figures["learning_rate"] = curves({"learning rate": rate}, "Learning rate", "learning rate")
    if others:
        figures["pretext_metrics"] = curves(others, "What the method measures during pretraining", "value", chance=guesses)
    return figures


def _by_scale(series: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Names grouped so that within a group the largest absolute values differ by at most a factor of 10; all-zero series join any."""
    scales = {name: max((abs(value) for value in values if math.isfinite(value)), default=0.0) for name, values in series.items()}
    groups: list[list[str]] = []
    for name in sorted(scales, key=lambda name: -scales[name]):
        if groups and (scales[name] * 10 >= scales[groups[-1][0]] or scales[name] == 0):
            groups[-1].append(name)
        else:
            groups.append([name])
    position = {name: i for i, name in enumerate(series)}
    return sorted((sorted(group, key=position.__getitem__) for group in groups), key=lambda group: position[group[0]])
