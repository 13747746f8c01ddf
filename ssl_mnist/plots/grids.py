"""Rows of images."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ssl_mnist.plots.text import fit, width_of, wrap

if TYPE_CHECKING:
    from torch import Tensor


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
    widest = max((width_of(text, 8) for texts in titles for text in texts), default=0) if titles else 0
    cell_width = max(width * scale, min(widest, 100)) + 5
    fitted = [[fit(text, cell_width - 3, 8, lines=2) for text in texts] for texts in titles] if titles else []
    head = 11 * max((text.count("\n") + 1 for texts in fitted for text in texts), default=0) + (3 if titles else 0)
    cell_height = head + height * scale + 5
    names = [wrap(name, 100, 9) for name in row_names] if row_names else []
    left = max((width_of(name, 9) for name in names), default=0) + 12
    content_width, content_height = cell_width * max(len(row) for row in rows), cell_height * len(rows)
    total_width = max(left + content_width + 8, 220)
    left += (total_width - left - content_width - 8) / 2
    heading = wrap(title, total_width - 16, 11)
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
