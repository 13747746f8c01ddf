"""Arrays in, matplotlib figures out; no file is read or written here, and pyplot's global state is not used.

Shapes: N points or images, K classes, C channels, H and W image size.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

# Ten colours told apart also with the common colour blindnesses and in grey, by hue and lightness (Okabe and Ito 2008, extended).
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#6A3D9A", "#8C6D31", "#444444", "#B2DF8A"]
DASHES = ["-", "--", ":", "-."]
MANY = 20  # classes, above which figures show some of them


def _axes(title: str, width: float = 6.4, height: float = 4.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _name_classes(axes: Axes, classes: Sequence[str], vertical: bool = False) -> None:
    """Ticks with the classes' names, wrapped and turned so that long ones do not overlap."""
    names = [textwrap.fill(name, 14) for name in classes]
    long = max(map(len, classes), default=0) > 3 or len(classes) > 12
    turned: dict[str, Any] = {"rotation": 90 if len(names) > 12 else 40, "ha": "right", "rotation_mode": "anchor", "fontsize": 8}
    axes.set_xticks(range(len(names)), names, **(turned if long else {}))
    if vertical:
        axes.set_yticks(range(len(names)), names, fontsize=8 if long else 10)


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    ylabel: str,
    chance: float | None = None,
    xlabel: str = "epoch",
) -> Figure:
    """One line a series, each with its own x and y; a legend where there are several; chance: a dotted line."""
    figure, axes = _axes(title, width=6.4 if len(series) <= MANY else 8.5)
    for i, (name, (x, y)) in enumerate(series.items()):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        axes.plot(x, y, label=name, color=colour, linestyle=dash, marker="o" if len(x) < 15 else None, markersize=4)
    if chance is not None:
        axes.axhline(chance, color="#777777", linestyle=":", label=f"chance ({chance:g})")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    if len(series) + (chance is not None) > 1:
        outside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if len(series) > 6 else {}
        axes.legend(frameon=False, fontsize=9, **outside)
    return figure


def class_distribution(counts: dict[str, list[int]], classes: Sequence[str]) -> Figure:
    """A bar for each class's share of each split; the legend gives sizes and the largest class over the smallest."""
    figure, axes = _axes("Class distribution of each split", width=7 if len(classes) <= 12 else 10)
    width = 0.8 / len(counts)
    for i, (split, numbers) in enumerate(counts.items()):
        x = np.arange(len(classes)) - 0.4 + (i + 0.5) * width
        label = f"{split}: {sum(numbers):,} images, largest / smallest class {max(numbers) / min(numbers):.2f}"
        axes.bar(x, np.array(numbers) / sum(numbers), width, label=label, color=COLOURS[i])
    axes.set(xlabel="class", ylabel="share of the split")
    if len(classes) <= 100:
        _name_classes(axes, classes)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if len(classes) <= MANY else 2))
    axes.set_ylim(top=axes.get_ylim()[1] * 1.35)
    axes.legend(frameon=False, loc="upper center", fontsize=9)
    return figure


def image_grid(
    rows: Sequence[Tensor],
    title: str,
    row_names: Sequence[str] | None = None,
    titles: Sequence[Sequence[str]] | None = None,
    marked: Sequence[Sequence[bool]] | None = None,
) -> Figure:
    """Rows of images, each row a tensor (N, C, H, W) in [0, 1], grey or RGB; titles, and whether a title is marked red, one an image."""
    height, width = rows[0].shape[2:]
    gap, head = 2, height // 3 if titles else 0  # pixels
    cell_height, cell_width = head + height + gap, width + gap
    # One picture for all of them: an axes for each would take seconds to lay out.
    canvas = np.ones((len(rows) * cell_height, max(len(row) for row in rows) * cell_width, 3))
    scale = 28 / max(height, width) / 36
    figure = Figure(figsize=(0.9 + canvas.shape[1] * scale, 0.5 + canvas.shape[0] * scale), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(textwrap.fill(title, max(24, int(figure.get_figwidth() * 11))), fontsize=11)
    axes.set_axis_off()
    for i, row in enumerate(rows):
        top = i * cell_height + head
        for j, pixels in enumerate(row.detach().float().cpu().clamp(0, 1).permute(0, 2, 3, 1).numpy()):
            left = j * cell_width
            canvas[top : top + height, left : left + width] = pixels
            if titles:
                colour = "#C00000" if marked and marked[i][j] else "black"
                axes.text(left + width / 2, top - 1, titles[i][j], fontsize=8, ha="center", va="bottom", color=colour)
        if row_names:
            axes.text(-gap, top + height / 2, row_names[i], fontsize=9, ha="right", va="center")
    axes.imshow(canvas)
    return figure


def wilson(share: float, num: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a share of `num` (Wilson 1927)."""
    z = 1.959964
    middle = (share + z**2 / (2 * num)) / (1 + z**2 / num)
    half = z / (1 + z**2 / num) * math.sqrt(share * (1 - share) / num + z**2 / (4 * num**2))
    return middle - half, middle + half


def per_class_accuracy(accuracy: Sequence[float], counts: Sequence[int], classes: Sequence[str], title: str) -> Figure:
    """A bar a class with its 95 % interval (Wilson); of many classes the worst 20. counts: images of each class."""
    order = range(len(classes)) if len(classes) <= MANY else sorted(range(len(classes)), key=lambda i: accuracy[i])[:MANY]
    figure, axes = _axes(
        title if len(classes) <= MANY else f"{title}\nthe {MANY} classes with the lowest accuracy, of {len(classes):,}", width=7
    )
    values = [accuracy[i] for i in order]
    ends = [wilson(accuracy[i], counts[i]) for i in order]
    spread = [[max(0, value - low) for value, (low, _) in zip(values, ends, strict=True)],
              [max(0, high - value) for value, (_, high) in zip(values, ends, strict=True)]]  # fmt: skip
    axes.bar(range(len(values)), values, color=COLOURS[0], yerr=spread, ecolor="#555555", capsize=3)
    low = min(low for low, _ in ends)
    bottom = 0.0 if low < 0.5 else max(0.0, low - (1 - low) * 0.3)
    for i, (value, (_, high)) in enumerate(zip(values, ends, strict=True)):
        axes.annotate(
            f"{100 * value:.1f}", (i, max(value, high)), xytext=(0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=8
        )
    axes.set(xlabel="class", ylabel="accuracy" + (f" (axis begins at {100 * bottom:.0f} %)" if bottom else ""))
    axes.set_ylim(bottom, 1 + 0.12 * (1 - bottom))
    _name_classes(axes, [classes[i] for i in order])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    mean = float(np.mean(accuracy))
    axes.axhline(mean, color=COLOURS[3], linewidth=1)
    axes.annotate("mean", (1, mean), xycoords=("axes fraction", "data"), color=COLOURS[3], fontsize=8, va="center")
    return figure


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Counts (K, K), true x predicted. The colour shows errors alone, so that the diagonal does not drown them.

    Of many classes those 20 with the most errors.
    """
    if len(classes) > MANY:
        errors = confusion - np.diag(np.diag(confusion))
        worst = np.sort(np.argsort(-(errors.sum(0) + errors.sum(1)), kind="stable")[:MANY])
        title = f"{title}\nthe {MANY} classes with the most errors, of {len(classes):,}"
        confusion, classes = confusion[np.ix_(worst, worst)], [classes[i] for i in worst]
    figure, axes = _axes(title, width=6 if len(classes) <= 12 else 9, height=5.4 if len(classes) <= 12 else 8)
    errors = confusion.astype(float)
    np.fill_diagonal(errors, np.nan)
    peak = max(np.nanmax(errors), 1.0)
    axes.imshow(errors, cmap="Oranges", vmin=0, vmax=peak)
    for (i, j), count in np.ndenumerate(confusion):
        if count:
            dark = i != j and count > 0.6 * peak
            axes.text(
                j, i, f"{count:,}", ha="center", va="center", fontsize=8 if len(classes) <= 12 else 6, color="white" if dark else "black"
            )
    axes.set(xlabel="predicted", ylabel="true")
    _name_classes(axes, classes, vertical=True)
    axes.spines[:].set_visible(False)
    return figure


def scatter(
    points: np.ndarray, labels: np.ndarray | None, classes: Sequence[str] | None, title: str, axis_names: tuple[str, str] = ("", "")
) -> Figure:
    """Points (N, 2), coloured by label (N,) with each class's name at its median; without labels in one colour."""
    figure, axes = _axes(title, width=6.6, height=5.6)
    style: dict[str, Any] = {
        "s": min(14, max(4, 20_000 / max(len(points), 1))),
        "alpha": 0.75 if len(points) < 3000 else 0.5,
        "linewidths": 0,
    }
    if labels is None or classes is None:
        axes.scatter(points[:, 0], points[:, 1], color=COLOURS[0], **style)
    else:
        many = len(classes) > MANY
        named = set(np.argsort(-np.bincount(labels, minlength=len(classes)), kind="stable")[:MANY].tolist())
        for i, name in enumerate(classes):
            mine = points[labels == i]
            marker = "o^sD"[i // len(COLOURS) % 4] if not many else "o"
            axes.scatter(mine[:, 0], mine[:, 1], color=COLOURS[i % len(COLOURS)], marker=marker, label=name, **style)
            if len(mine) and i in named:
                x, y = np.median(mine, axis=0)
                size = 13 if max(map(len, classes)) <= 3 and not many else 8
                text = axes.text(x, y, name, fontsize=size, weight="bold", ha="center", va="center")
                text.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1})
        if not many:
            axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2, title="class", fontsize=9)
        else:
            axes.set_title(f"{title}\nthe {MANY} largest of {len(classes):,} classes are named", fontsize=11)
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    axes.set(xticks=[], yticks=[])
    return figure


def augmented_views(images: Tensor, views: Sequence[Tensor]) -> Figure:
    """Images (N, C, H, W) in [0, 1] above rows of views of them."""
    return image_grid([images, *views], "Training images, and augmented views as handed to the method", ["image", *["view"] * len(views)])


def of_training(history: Sequence[Mapping[str, float]], chance: Mapping[str, float]) -> dict[str, Figure]:
    """The curves of a run's metric rows: the loss and its terms, whatever else the method measured, and the learning rate.

    A row may lack a metric. Metrics whose ranges differ more than tenfold stand in figures of their own. chance: what guessing would
    give, by metric.
    """
    columns: dict[str, tuple[list[float], list[float]]] = {}
    for row in history:
        for key, value in row.items():
            if key.startswith("pretrain/") and key not in ("pretrain/images_per_second", "pretrain/epoch_loss"):
                x, y = columns.setdefault(key.removeprefix("pretrain/"), ([], []))
                x.append(row["epoch"])
                y.append(value)
    if not columns:
        return {}
    figures = {"learning_rate": curves({"learning rate": columns.pop("lr")}, "Learning-rate schedule", "learning rate")}
    losses = {name: values for name, values in columns.items() if "loss" in name}
    figures["loss"] = curves(losses, "Pretraining loss", "loss")
    others = {name: values for name, values in columns.items() if name not in losses}
    for i, group in enumerate(_of_one_scale(others)):
        guess = {chance[name] for name in group if name in chance}
        named = {name.replace("_", " "): others[name] for name in group}
        figures["pretext_metrics" if i == 0 else f"pretext_metrics_{i + 1}"] = curves(
            named, "Metrics of the pretext task", "value", guess.pop() if len(guess) == 1 else None
        )
    return figures


def _of_one_scale(series: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> list[list[str]]:
    """Names grouped so that the largest magnitudes within a group differ at most tenfold."""
    size = {name: max((abs(value) for value in y), default=0.0) or 1.0 for name, (_, y) in series.items()}
    groups: list[list[str]] = []
    for name in series:
        home = next((g for g in groups if 0.1 <= size[name] / size[g[0]] <= 10), None)
        groups.append([name]) if home is None else home.append(name)
    return groups
