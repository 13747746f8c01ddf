"""Arrays in, matplotlib figures out. No file is read or written here, and neither pyplot nor its global state is used.

Shapes: images (N, C, H, W) in [0, 1], points (N, 2), labels (N,) with the index of a class, K classes.
"""

# ruff: noqa: E402
import contextlib
import math
import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

_backend = os.environ.pop("MPLBACKEND", None)  # none is needed here, and one that matplotlib does not know ends its import
import matplotlib

if _backend is not None:
    os.environ["MPLBACKEND"] = _backend
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import Bbox

if TYPE_CHECKING:
    from torch import Tensor


# Ten colours that differ in hue and lightness, so also under the common colour blindnesses and in grey (Okabe and Ito 2008, extended).
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#6A3D9A", "#8C6D31", "#444444", "#B2DF8A"]
DASHES = ["-", "--", "-.", ":"]  # the next ten lines take the next dash
MARKERS = ["o", "^", "s", "D", "v"]  # the next ten classes take the next marker
MAX_CLASSES = 20  # more classes than this are not all named in one figure


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
    labels = {name: _cut(name, 200, 8) for name in series}
    room = columns * (max(_width(label, 8) for label in labels.values()) + 40) / 72 if outside else 0
    figure, top = _figure(title, 6.4 + room, height, rows=len(panels))
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
        axes.set_ylabel(_wrap(panel[0] if alone else ylabel, 72 * height / len(panels) - 40, 10))
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
    losses = {_spaced(name): column for name, column in columns.items() if "loss" in name}
    others = {_spaced(name): column for name, column in columns.items() if "loss" not in name}
    guesses = {_spaced(name): value for name, value in (chance or {}).items()}
    figures = {}
    if losses:
        figures["loss"] = curves(losses, "Pretraining loss", "loss", chance=guesses)
    if rate:
        figures["learning_rate"] = curves({"learning rate": rate}, "Learning rate", "learning rate")
    if others:
        figures["pretext_metrics"] = curves(others, "What the method measures during pretraining", "value", chance=guesses)
    return figures


def label_efficiency(ways: Mapping[str, Sequence[tuple[int, float, float]]], title: str) -> Figure:
    """Accuracy against the number of labels, on a logarithmic axis; a line a way of using them.

    A point is (labels, accuracy, half width of its interval); both are fractions, the half width may be nan.
    """
    figure, (axes,) = _figure(title, 7.4, 4.6)
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


def class_distribution(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> Figure:
    """Each class's share of each split, `counts` being K numbers a split; the legend gives the sizes and the imbalance.

    Up to 20 classes are bars with their names; more are one line a split over the classes, the most frequent one first.
    """
    many = len(classes) > MAX_CLASSES
    width = 7.0 if many else _bars_width(len(classes))
    labels = []
    for split, numbers in counts.items():
        absent = sum(number == 0 for number in numbers)
        spread = f"{absent} without an image" if absent else f"largest class {max(numbers) / min(numbers):.2f} times the smallest"
        labels.append(f"{split}: {sum(numbers):,} images, {spread}")
    width = max(width, (max(_width(label, 9) for label in labels) + 110) / 72)
    figure, (axes,) = _figure("How often each class occurs in each split", width, 3.8 + 0.2 * len(counts))
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
        _name_x(axes, classes, 72 * (width - 1))
    axes.set_ylabel("share of the split")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=9)
    return figure


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
        figure, (axes,) = _figure(title, 7, 1.4 + 0.24 * len(shown))
        places = np.arange(len(shown))
        axes.barh(places, values, color=COLOURS[0])
        axes.errorbar(values, places, xerr=margins, **error)
        for place, number, right in zip(places, numbers, high, strict=True):
            axes.annotate(number, (right, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(places, [_cut(classes[k], 150, 9) for k in shown], fontsize=9)
        axes.set(xlabel=label, xlim=limits, ylim=(len(shown) - 0.4, -0.6))
        axes.axvline(mean, label=f"mean of all classes: {100 * mean:.1f} %", **line)
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), fontsize=9, borderaxespad=0)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
        return figure

    width = _bars_width(len(classes))
    figure, (axes,) = _figure(title, width, 4.2)
    axes.bar(shown, values, color=COLOURS[0])
    axes.errorbar(shown, values, yerr=margins, **error)
    for k, number, top in zip(shown, numbers, high, strict=True):
        axes.annotate(number, (k, top), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    _name_x(axes, classes, 72 * (width - 1))
    axes.set(xlabel="class", ylim=limits)
    axes.set_ylabel(_wrap(label, 200, 10))
    axes.axhline(mean, label=f"mean of the classes: {100 * mean:.1f} %", **line)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), fontsize=9, borderaxespad=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None, symbol=" %"))
    return figure


def wilson(accuracy: float, count: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy measured on `count` images (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(accuracy * count), count).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Counts (K true, K predicted). Only mistakes are coloured, so that the diagonal does not drown them.

    Of more than 20 classes it shows the 20 that take part in the most frequent confusions.
    """
    shown = list(range(len(classes)))
    if len(classes) > MAX_CLASSES:
        shown = _most_confused(confusion)
        title = f"{title}\nthe {len(shown)} classes of the most frequent confusions, of {len(classes):,}"
    counts = confusion[np.ix_(shown, shown)]
    mistakes = counts.astype(float)
    np.fill_diagonal(mistakes, np.nan)
    peak = max(np.nanmax(mistakes), 1.0)

    names = [_cut(classes[k], 130, 9) for k in shown]
    cell = 28 if len(names) > 12 else max(36, 200 / len(names))  # points
    side = cell * len(names)
    columns, rotated = _fit_names(names, cell)
    below = max(_width(name, 9) for name in columns) * 0.71 if rotated else 12 * max(name.count("\n") + 1 for name in columns)
    beside = max(_width(name, 9) for name in names)
    width, height = (side + beside + 60) / 72, (side + below + 60) / 72
    lines = _wrap(title, 72 * width - 16, 11).count("\n") + 1
    figure, (axes,) = _figure(title, width, height + 14 * lines / 72)
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=peak)
    size = min(8.0, 8 * (cell - 6) / _width(f"{counts.max():,}", 8))
    for (i, j), count in np.ndenumerate(counts):
        if count:
            dark = i != j and count > 0.6 * peak
            axes.text(j, i, f"{count:,}", ha="center", va="center", fontsize=size, color="white" if dark else "black")
    axes.set(xlabel="predicted", ylabel="true")
    _name_x(axes, names, side)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.spines[:].set_visible(False)
    return figure


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
    figure, (axes,) = _figure(title, 7.2, 5.8)
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
            names = [_cut(name, 120, 9) for name in classes]
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


def image_grid(
    rows: Sequence["Tensor"],
    title: str,
    row_names: Sequence[str] | None = None,
    titles: Sequence[Sequence[str]] | None = None,
    marked: Sequence[Sequence[bool]] | None = None,
) -> Figure:
    """Rows of images, each a tensor (N, C, H, W) in [0, 1]; rows may differ in N, H and W.

    `titles` holds a text for each image, and `marked` whether it is red. One channel is grey, three are RGB, any other
    number is shown as the mean of the channels.
    """
    height, width = max(row.shape[2] for row in rows), max(row.shape[3] for row in rows)
    scale = 64 / math.sqrt(height * width)  # points a pixel; all lengths below are in points unless named otherwise
    widest = max((_width(text, 8) for texts in titles for text in texts), default=0) if titles else 0
    cell_width = max(width * scale, min(widest, 100)) + 5
    fitted = [[_fit(text, cell_width - 3, 8, lines=2) for text in texts] for texts in titles] if titles else []
    head = 11 * max((text.count("\n") + 1 for texts in fitted for text in texts), default=0) + (3 if titles else 0)
    cell_height = head + height * scale + 5
    names = [_wrap(name, 100, 9) for name in row_names] if row_names else []
    left = max((_width(name, 9) for name in names), default=0) + 12
    content_width, content_height = cell_width * max(len(row) for row in rows), cell_height * len(rows)
    total_width = max(left + content_width + 8, 220)
    left += (total_width - left - content_width - 8) / 2
    heading = _wrap(title, total_width - 16, 11)
    above = 15 * (heading.count("\n") + 1) + 8
    total_height = above + content_height + 4

    figure = Figure(figsize=(total_width / 72, total_height / 72))
    figure.suptitle(heading, fontsize=11, y=1 - 5 / total_height, va="top")
    axes = figure.add_axes((left / total_width, 4 / total_height, content_width / total_width, content_height / total_height))
    axes.set(xlim=(0, content_width), ylim=(content_height, 0))
    axes.set_axis_off()
    for i, row in enumerate(rows):
        high, wide = row.shape[2] * scale, row.shape[3] * scale
        top = i * cell_height + head + (height * scale - high) / 2
        for j, pixels in enumerate(row.detach().float().cpu().clamp(0, 1)):
            if len(pixels) not in (1, 3):
                pixels = pixels.mean(0, keepdim=True)
            middle = (j + 0.5) * cell_width
            picture = pixels.expand(3, -1, -1).permute(1, 2, 0).numpy()
            axes.imshow(picture, extent=(middle - wide / 2, middle + wide / 2, top + high, top), aspect="auto", interpolation="antialiased")
            if fitted:
                colour = "#C00000" if marked and marked[i][j] else "black"
                axes.text(middle, i * cell_height + head - 2, fitted[i][j], fontsize=8, ha="center", va="bottom", color=colour)
        if names:
            axes.text(-5, i * cell_height + head + height * scale / 2, names[i], fontsize=9, ha="right", va="center")
    axes.set(xlim=(0, content_width), ylim=(content_height, 0))
    return figure


def augmented_views(images: "Tensor", rows_of_views: Sequence["Tensor"], row_names: Sequence[str]) -> Figure:
    """Images (N, C, H, W) in [0, 1] above rows of their views, each (N, C, h, w), with a name for each row of views."""
    return image_grid([images, *rows_of_views], "Training images and views of them as the method sees them", ["image", *row_names])


def nearest_neighbours(rows: Sequence["Tensor"], split: str, names: Sequence[Sequence[str]] | None = None) -> Figure:
    """Rows of images (1 + N, C, H, W) in [0, 1]: one of `split`, then the training images whose embeddings are nearest to its own.

    names: the class of each image, where there are classes; those of another class than the row's first are red.
    """
    title = f"Images of {split} (left) and the training images nearest to them by cosine"
    if names is None:
        return image_grid(rows, title)
    others = [[name != row[0] for name in row] for row in names]
    right, num = sum(not other for row in others for other in row[1:]), sum(len(row) - 1 for row in others)
    return image_grid(rows, f"{title}: {right} of {num} are of the same class (others in red)", titles=names, marked=others)


def reconstructions(images: "Tensor", reconstructed: "Tensor", title: str = "Images and their reconstructions") -> Figure:
    """Images above their reconstructions, both (N, C, H, W) in [0, 1].

    Where the reconstructions span less than 80 % of the images' range of grey levels, their contrast is stretched to it,
    and the title says by how much. A constant reconstruction is shown as it is.
    """
    (low, high), (dark, bright) = (np.percentile(x.detach().float().cpu().numpy(), [0.5, 99.5]) for x in (images, reconstructed))
    if 0.02 * (high - low) < bright - dark < 0.8 * (high - low):
        factor = float((high - low) / (bright - dark))
        reconstructed = (reconstructed.float() - float(dark)) * factor + float(low)
        title = f"{title} (contrast of the reconstructions raised {factor:.1f} times)"
    return image_grid([images, reconstructed], title, ["original", "reconstructed"])


def robustness(corruptions: Mapping[str, Mapping[str, Any]], probes: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Accuracy against strength, a panel a corruption: solid lines for the encoder, dashed for the untrained one, a colour a probe.

    corruptions: by name, what a `strength` is, its `strengths`, and the one that changes `none`; probes: by score, its `title`, accuracies
    on the images as they are, `clean` and `untrained_clean`, and by corruption those at each strength, `accuracy` and `untrained`.
    """
    columns = min(4, len(corruptions))
    rows = math.ceil(len(corruptions) / columns)
    width = max(2.6 * columns, 5)
    figure = Figure(figsize=(width, 2.5 * rows + 0.8), layout="constrained")
    figure.suptitle(_wrap(title, 72 * width - 16, 11), fontsize=11)
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
        axes.set_title(_spaced(name), fontsize=10)
        axes.set_xticks(x, [f"{value:g}" for value in (about["none"], *about["strengths"])], fontsize=8)
        axes.set_xlabel(_wrap(about["strength"], 72 * width / columns - 40, 8), fontsize=8)
        axes.tick_params(axis="y", labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy, %", fontsize=9)
    grid[0, 0].set_ylim(0, 101)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 2 if columns < 4 else 4), frameon=False, fontsize=9)
    return figure


def reliability(diagrams: Mapping[str, Mapping[str, Any]], split: str) -> Figure:
    """Accuracy against confidence, a panel a probe (Guo et al. 2017, figure 1), above the share of predictions in each bin.

    diagrams: by score, its `title` and `ece`, and by bin of equal width `num`, `accuracy` and `confidence`, None where num is 0.
    """
    width = max(3.4 * len(diagrams), 4.2)
    figure = Figure(figsize=(width, 5), layout="constrained")
    figure.suptitle(_wrap(f"How often a prediction of a confidence is right ({split})", 72 * width - 16, 11), fontsize=11)
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
        above.set_title(_wrap(f"{about['title']}: ECE {100 * about['ece']:.2f} %", 72 * width / len(diagrams) - 40, 10), fontsize=10)
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


def _figure(title: str, width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `width` × `height` inches with `rows` axes that share their x axis, the title wrapped to the width."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(_wrap(title, 72 * width - 16, 11), fontsize=11)
    axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


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


def _most_confused(confusion: np.ndarray) -> list[int]:
    """Sorted indices of the 20 classes met first when pairs of classes are read from the most often to the least often confused."""
    pairs = np.triu(confusion + confusion.T, 1)
    found: dict[int, None] = {}
    for flat in np.argsort(-pairs, axis=None, kind="stable"):
        found |= dict.fromkeys(int(k) for k in np.unravel_index(flat, pairs.shape))
        if len(found) >= MAX_CLASSES:
            break
    return sorted(list(found)[:MAX_CLASSES])


def _bars_width(num_classes: int) -> float:
    return max(5.0, 1 + 0.6 * num_classes)  # inches


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _name_x(axes: Axes, names: Sequence[str], width: float) -> None:
    """Names at x = 0, 1, ..., K - 1 of an axis `width` points long: in one line, wrapped, or rotated where that is too wide."""
    fitted, rotated = _fit_names(names, width / len(names))
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if rotated else {}
    axes.set_xticks(range(len(names)), fitted, fontsize=9, **turned)
    axes.set_xlim(-0.5, len(names) - 0.5)


def _fit_names(names: Sequence[str], slot: float) -> tuple[list[str], bool]:
    wrapped = [_wrap(name, slot - 5, 9) for name in names]
    if max(_width(name, 9) for name in wrapped) <= slot - 5:
        return wrapped, False
    return [_cut(name, 130, 9) for name in names], True


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
        name = _cut(full, 130, size)
        width, height = (_width(name, size, "bold") + 6) / points, (1.2 * size + 5) / points
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


def _literal(text: str) -> str:
    """Dollar signs escaped, which matplotlib would read as the borders of a formula."""
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def _width(text: str, size: float, weight: str = "normal") -> float:
    """Points that the widest line of a text takes at a font size."""
    font = get_font(findfont(FontProperties(weight=weight)))
    font.set_size(size, 72)
    widths = []
    for line in text.replace(r"\$", "$").split("\n"):
        font.set_text(line, 0.0, flags=LoadFlags.NO_HINTING)
        widths.append(font.get_width_height()[0] / 64)  # in 1/64 point
    return max(widths)


def _wrap(text: str, width: float, size: float) -> str:
    """Break a text after spaces, slashes and underscores into lines of at most `width` points; a longer word keeps its line."""
    parts = _literal(text).split("\n")
    return "\n".join(line for part in parts for line in _lines(re.findall(r"[^\s/_]*[\s/_]?", part), width, size))


def _lines(words: Iterable[str], width: float, size: float) -> list[str]:
    lines = [""]
    for word in words:
        if lines[-1] and _width((lines[-1] + word).rstrip(), size) > width:
            lines.append("")
        lines[-1] += word
    return [line.rstrip() for line in lines]


def _cut(text: str, width: float, size: float) -> str:
    """A text in one line, ended by an ellipsis where it takes more than `width` points."""
    text = _literal(text.replace("\n", " "))
    if _width(text, size) <= width:
        return text
    kept = bisect_right(range(1, len(text)), width, key=lambda length: _width(text[:length] + "…", size))
    return text[:kept].rstrip() + "…"


def _fit(text: str, width: float, size: float, lines: int) -> str:
    """A text wrapped to `width` points, at most `lines` lines, each cut to the width."""
    wrapped = _wrap(text, width, size).split("\n")
    if len(wrapped) > lines:
        wrapped = [*wrapped[: lines - 1], " ".join(wrapped[lines - 1 :])]
    return "\n".join(_cut(line, width, size) for line in wrapped)
