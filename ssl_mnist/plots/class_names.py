"""Names of classes along an axis."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from ssl_mnist.plots.text import cut, width_of, wrap


def bars_width(num_classes: int) -> float:
    return max(5.0, 1 + 0.6 * num_classes)  # inches


def name_x(axes: Axes, names: Sequence[str], width: float) -> None:
    """Names at x = 0, 1, ..., K - 1 of an axis `width` points long: in one line, wrapped, or rotated where that is too wide."""
    fitted, rotated = fit_names(names, width / len(names))
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if rotated else {}
    axes.set_xticks(range(len(names)), fitted, fontsize=9, **turned)
    axes.set_xlim(-0.5, len(names) - 0.5)


def fit_names(names: Sequence[str], slot: float) -> tuple[list[str], bool]:
    wrapped = [wrap(name, slot - 5, 9) for name in names]
    if max(width_of(name, 9) for name in wrapped) <= slot - 5:
        return wrapped, False
    return [cut(name, 130, 9) for name in names], True
