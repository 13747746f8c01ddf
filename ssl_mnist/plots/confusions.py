"""The confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ssl_mnist.plots.class_names import fit_names, name_x
from ssl_mnist.plots.figure import MAX_CLASSES, new_figure
from ssl_mnist.plots.text import cut, width_of, wrap


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

    names = [cut(classes[k], 130, 9) for k in shown]
    cell = 28 if len(names) > 12 else max(36, 200 / len(names))  # points
    side = cell * len(names)
    columns, rotated = fit_names(names, cell)
    below = max(width_of(name, 9) for name in columns) * 0.71 if rotated else 12 * max(name.count("\n") + 1 for name in columns)
    beside = max(width_of(name, 9) for name in names)
    width, height = (side + beside + 60) / 72, (side + below + 60) / 72
    lines = wrap(title, 72 * width - 16, 11).count("\n") + 1
    figure, (axes,) = new_figure(title, width, height + 14 * lines / 72)
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=peak)
    size = min(8.0, 8 * (cell - 6) / width_of(f"{counts.max():,}", 8))
    for (i, j), count in np.ndenumerate(counts):
        if count:
            dark = i != j and count > 0.6 * peak
            axes.text(j, i, f"{count:,}", ha="center", va="center", fontsize=size, color="white" if dark else "black")
    axes.set(xlabel="predicted", ylabel="true")
    name_x(axes, names, side)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.spines[:].set_visible(False)
    return figure


def _most_confused(confusion: np.ndarray) -> list[int]:
    """Sorted indices of the 20 classes met first when pairs of classes are read from the most often to the least often confused."""
    pairs = np.triu(confusion + confusion.T, 1)
    found: dict[int, None] = {}
    for flat in np.argsort(-pairs, axis=None, kind="stable"):
        found |= dict.fromkeys(int(k) for k in np.unravel_index(flat, pairs.shape))
        if len(found) >= MAX_CLASSES:
            break
    return sorted(list(found)[:MAX_CLASSES])
