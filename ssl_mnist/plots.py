"""Arrays in, matplotlib figures out; no file is read or written here, and pyplot's global state is not used."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

if TYPE_CHECKING:
    from ssl_mnist.evaluate import Evaluation
    from ssl_mnist.evaluate.project import Projection

# Ten colours told apart also with the common colour blindnesses and in grey, by hue and lightness (Okabe and Ito 2008, extended).
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#6A3D9A", "#8C6D31", "#444444", "#B2DF8A"]


def _axes(title: str, width: float = 6.4, height: float = 4.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def curves(x: Sequence[float], series: Mapping[str, Sequence[float]], title: str, ylabel: str, xlabel: str = "epoch") -> Figure:
    """One line a series over x, all of one length; a legend where there are several."""
    figure, axes = _axes(title)
    for colour, (name, y) in zip(COLOURS, series.items(), strict=False):
        axes.plot(x, y, label=name, color=colour, marker="o" if len(x) < 15 else None, markersize=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend(frameon=False)
    return figure


def class_distribution(counts: dict[str, list[int]], classes: Sequence[str]) -> Figure:
    """A bar for each class's share of each split; the legend tells sizes and the largest class over the smallest."""
    figure, axes = _axes("How often each class occurs in each split", width=7)
    width = 0.8 / len(counts)
    for i, (split, numbers) in enumerate(counts.items()):
        x = np.arange(len(classes)) - 0.4 + (i + 0.5) * width
        label = f"{split}: {sum(numbers):,} images, ratio {max(numbers) / min(numbers):.2f}"
        axes.bar(x, np.array(numbers) / sum(numbers), width, label=label, color=COLOURS[i])
    axes.set(xlabel="class", ylabel="share of the split")
    axes.set_xticks(range(len(classes)), classes)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(top=axes.get_ylim()[1] * 1.3)
    axes.legend(frameon=False, loc="upper center", ncols=min(len(counts), 2), fontsize=9)
    return figure


def image_grid(
    rows: Sequence[Tensor],
    title: str,
    row_names: Sequence[str] | None = None,
    titles: Sequence[Sequence[str]] | None = None,
    marked: Sequence[Sequence[bool]] | None = None,
) -> Figure:
    """Rows of images, each row a tensor (N, C, H, W) in [0, 1]; titles, and whether a title is marked red, one an image."""
    height, width = rows[0].shape[2:]
    gap, head = 2, height // 3 if titles else 0  # pixels
    cell_height, cell_width = head + height + gap, width + gap
    # One picture for all of them: an axes for each would take seconds to lay out.
    canvas = np.ones((len(rows) * cell_height, max(len(row) for row in rows) * cell_width, 3))
    figure = Figure(figsize=(0.9 + canvas.shape[1] / 36, 0.5 + canvas.shape[0] / 36), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
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


def per_class_accuracy(accuracy: Sequence[float], classes: Sequence[str], title: str) -> Figure:
    """A bar a class, with its number; the axis is cut to where the bars end."""
    figure, axes = _axes(title)
    axes.bar(range(len(classes)), accuracy, color=COLOURS[0])
    for i, value in enumerate(accuracy):
        axes.annotate(f"{100 * value:.1f}", (i, value), ha="center", va="bottom", fontsize=8)
    low = min(accuracy)
    axes.set(xlabel="class", ylabel="accuracy", ylim=(max(0.0, low - (1 - low) - 0.01), 1 + 0.1 * (1.01 - low)))
    axes.set_xticks(range(len(classes)), classes)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.axhline(float(np.mean(accuracy)), color=COLOURS[3], linewidth=1)
    axes.annotate("mean", (1, float(np.mean(accuracy))), xycoords=("axes fraction", "data"), color=COLOURS[3], fontsize=8, va="center")
    return figure


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Counts (true, predicted). The colour shows mistakes alone, so that the diagonal does not drown them."""
    figure, axes = _axes(title, width=6, height=5.4)
    mistakes = confusion.astype(float)
    np.fill_diagonal(mistakes, np.nan)
    peak = max(np.nanmax(mistakes), 1.0)
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=peak)
    for (i, j), count in np.ndenumerate(confusion):
        if count:
            dark = i != j and count > 0.6 * peak
            axes.text(j, i, f"{count:,}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.spines[:].set_visible(False)
    return figure


def scatter(points: np.ndarray, labels: np.ndarray, classes: Sequence[str], title: str, axis_names: tuple[str, str] = ("", "")) -> Figure:
    """Points (N, 2) coloured by label (N,), each class's name written at its median."""
    figure, axes = _axes(title, width=6.6, height=5.6)
    for i, name in enumerate(classes):
        mine = points[labels == i]
        axes.scatter(mine[:, 0], mine[:, 1], s=7, alpha=0.6, color=COLOURS[i % len(COLOURS)], label=name, linewidths=0)
        if len(mine):
            x, y = np.median(mine, axis=0)
            text = axes.text(x, y, name, fontsize=13, weight="bold", ha="center", va="center")
            text.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1})
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    axes.set(xticks=[], yticks=[])
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2, title="class")
    return figure


def augmented_views(images: Tensor, augmentation: Callable[[Tensor], Tensor], num_views: int = 4) -> Figure:
    """Images (N, C, H, W) in [0, 1] above views of them, drawn without moving the run's random numbers."""
    with torch.random.fork_rng():
        rows = [images, *(augmentation(images) for _ in range(num_views))]
    return image_grid(rows, "Training images, and views of them as the method sees them", ["image", *["view"] * num_views])


def of_training(history: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
    """The curves of a run's metric rows: every term of the loss and every other term a method logged, and the learning rate."""
    if not history:
        return {}
    epochs = [row["epoch"] for row in history]
    columns = {name.removeprefix("pretrain/"): [row[name] for row in history] for name in history[0] if name.startswith("pretrain/")}
    columns.pop("images_per_second"), columns.pop("epoch_loss", None)
    figures = {"learning_rate": curves(epochs, {"learning rate": columns.pop("lr")}, "Learning rate", "learning rate")}
    losses = {name: values for name, values in columns.items() if "loss" in name}
    figures["loss"] = curves(epochs, losses, "Pretraining loss", "loss")
    if others := {name.replace("_", " "): values for name, values in columns.items() if name not in losses}:
        figures["pretext_metrics"] = curves(epochs, others, "What the method measures while it trains", "value")
    return figures


def of_evaluation(result: "Evaluation", projections: Mapping[str, "Projection"], classes: Sequence[str]) -> dict[str, Figure]:
    """Per-class accuracy and confusion of the linear probe, and the embeddings' projections, all on test."""
    scores = result.scores
    head = f"Linear probe on the embedding, test: {100 * scores['test/linear_accuracy']:.2f} %"
    figures = {
        "per_class_accuracy": per_class_accuracy(scores["test/per_class_accuracy"], classes, head),
        "confusion_matrix": confusion_matrix(
            result.confusion.cpu().numpy(), classes, f"{head}\nmost confused: {scores['test/most_confused']}"
        ),
    }
    for name, projection in projections.items():
        labels = result.test.labels[: len(projection.points)].cpu().numpy()
        title = f"{projection.title} of {len(labels):,} test embeddings"
        figures[name] = scatter(projection.points, labels, classes, title, projection.axis_names)
    return figures
