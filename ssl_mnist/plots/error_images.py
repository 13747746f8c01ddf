"""Errors as images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.figure import Figure

from ssl_mnist.plots.grids import image_grid

if TYPE_CHECKING:
    from torch import Tensor

LENGTH = 24  # letters of a class's name


class Pair(NamedTuple):
    """Images of one class that were taken for another."""

    true: str
    predicted: str
    num: int  # how many there are
    images: "Tensor"  # (N, C, H, W), at most `num`


def most_confused(pairs: Sequence[Pair], title: str) -> Figure:
    """A row a pair of classes, named by how often the one was taken for the other."""
    names = [f"{_short(pair.true)} taken for {_short(pair.predicted)}, {_times(pair.num)}" for pair in pairs]
    return image_grid([pair.images for pair in pairs], title, names)


def furthest(images: "Tensor", true: Sequence[str], nearest: Sequence[str], distances: Sequence[float], split: str) -> Figure:
    """Images, the furthest from its class first, each with its class and distance; in red those that are nearer to another class."""
    titles, rows = [], range(0, len(images), 8)
    for own, other, distance in zip(true, nearest, distances, strict=True):
        titles.append(f"{distance:.2f} {_short(own)}" + (f" ({_short(other)}?)" if own != other else ""))
    wrong = [own != other for own, other in zip(true, nearest, strict=True)]
    return image_grid(
        [images[i : i + 8] for i in rows],
        f"Images of {split} furthest from their class: cosine distance to the mean embedding of the class in train, and the class; "
        "in red those that another class is nearer to",
        titles=[titles[i : i + 8] for i in rows],
        marked=[wrong[i : i + 8] for i in rows],
    )


def _short(name: str) -> str:
    return name if len(name) <= LENGTH else f"{name[: LENGTH - 1]}…"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
