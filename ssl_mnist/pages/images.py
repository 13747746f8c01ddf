"""Figures of a run, embedded in a page."""

import base64
import io
from pathlib import Path

from PIL import Image

TITLES = {  # of figures, by their names
    "augmented_views": "Training images and views of them",
    "class_distribution": "How often each class occurs in each split",
    "per_class_accuracy": "Accuracy of each class",
    "confusion_matrix": "Confusion matrix",
    "most_confused": "Most confused classes",
    "furthest_from_class": "Images furthest from their class",
    "tsne": "Latent space, t-SNE",
    "pca": "Latent space, PCA",
    "nearest_neighbours": "Nearest neighbours",
}
QUALITY = 85  # of WebP: a third of the PNG's bytes, at which the letters of a figure show no blur
EFFORT = 2  # of 0 to 6: a figure takes 15 ms, at 4 half as much again for a few percent of the bytes


def figure_of(folder: Path, name: str) -> Path | None:
    """A figure of a run; None where there is none, or where a link leads out of the run's folder."""
    path = folder / "figures" / f"{name}.png"
    try:
        inside = path.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return None
    return path if inside and path.is_file() else None


def embedded(path: Path) -> str:
    """A PNG file as a data URI: as WebP where that is smaller. Raises OSError where it cannot be read."""
    content = path.read_bytes()
    kind, smallest = "png", content
    try:
        with Image.open(io.BytesIO(content)) as image:
            out = io.BytesIO()
            image.convert("RGB").save(out, "WEBP", quality=QUALITY, method=EFFORT)
        if len(out.getvalue()) < len(content):
            kind, smallest = "webp", out.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # no image that Pillow reads: a browser may
        pass
    return f"data:image/{kind};base64,{base64.b64encode(smallest).decode()}"
