"""What the figures share: colours, dashes, markers, and a figure with a title."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_mnist.plots.text import wrap

# Ten colours that differ in hue and lightness, so also under the common colour blindnesses and in grey (Okabe and Ito 2008, extended).
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#6A3D9A", "#8C6D31", "#444444", "#B2DF8A"]
DASHES = ["-", "--", "-.", ":"]  # the next ten lines take the next dash
MARKERS = ["o", "^", "s", "D", "v"]  # the next ten classes take the next marker
MAX_CLASSES = 20  # more classes than this are not all named in one figure


def new_figure(title: str, width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `width` × `height` inches with `rows` axes that share their x axis, the title wrapped to the width."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(wrap(title, 72 * width - 16, 11), fontsize=11)
    axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def spaced(name: str) -> str:
    return name.replace("_", " ")
