"""Arrays in, matplotlib figures out. No file is read or written here, and neither pyplot nor its global state is used.

Shapes: images (N, C, H, W) in [0, 1], points (N, 2), labels (N,) with the index of a class, K classes.
"""

from ssl_mnist.plots import backend  # noqa: F401 -- before anything imports matplotlib
from ssl_mnist.plots.budget_curves import Point, label_curves, label_efficiency
from ssl_mnist.plots.class_accuracy import per_class_accuracy
from ssl_mnist.plots.class_shares import class_distribution
from ssl_mnist.plots.confusions import confusion_matrix
from ssl_mnist.plots.corruption_curves import robustness
from ssl_mnist.plots.error_images import Pair, furthest, most_confused
from ssl_mnist.plots.figure import COLOURS, DASHES, MARKERS
from ssl_mnist.plots.grids import augmented_views, image_grid, nearest_neighbours, reconstructions
from ssl_mnist.plots.health_curves import health
from ssl_mnist.plots.points import scatter
from ssl_mnist.plots.reliability_diagrams import reliability
from ssl_mnist.plots.training_curves import curves, of_training

__all__ = [
    "COLOURS", "DASHES", "MARKERS", "Pair", "Point", "augmented_views", "class_distribution", "confusion_matrix", "curves", "furthest",
    "health", "image_grid", "label_curves", "label_efficiency", "most_confused", "nearest_neighbours", "of_training", "per_class_accuracy",
    "reconstructions", "reliability", "robustness", "scatter",
]  # fmt: skip
