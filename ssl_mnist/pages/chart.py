"""Lines over epochs as a few kilobytes of SVG, in the page's colours: what plotly would take megabytes for, and matplotlib seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

from matplotlib.ticker import MaxNLocator

COLOURS = ("#0072B2", "#E69F00")  # Okabe and Ito's, which stand out on white and on black


class Line(NamedTuple):
    name: str
    points: Sequence[tuple[float, float]]  # finite, at least one


class Tick(NamedTuple):
    text: str
    place: float  # in the drawing


@dataclass(frozen=True)
class Chart:
    """One or two lines. `templates/parts.html` draws it; lengths are in units of the SVG's view box, y downwards."""

    kind: ClassVar[str] = "chart"
    width: ClassVar[int] = 300
    height: ClassVar[int] = 190
    left: ClassVar[int] = 54  # of the axes, for the numbers beside them
    right: ClassVar[int] = 292
    top: ClassVar[int] = 8
    bottom: ClassVar[int] = 152

    lines: Sequence[Line]
    label: str  # for screen readers
    x_title: str = "epoch"

    @cached_property
    def x_ticks(self) -> list[Tick]:
        return [Tick(f"{value:g}", self._x(value)) for value in _ticks(*self._span(0), 6)]

    @cached_property
    def y_ticks(self) -> list[Tick]:
        return [Tick(f"{value:g}", self._y(value)) for value in _ticks(*self._span(1), 5)]

    @cached_property
    def drawn(self) -> list[tuple[str, str, str]]:
        """Of each line its name, its colour and its points, as SVG's polyline takes them."""
        return [
            (line.name, COLOURS[i], " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in line.points))
            for i, line in enumerate(self.lines)
        ]

    def _x(self, value: float) -> float:
        low, high = self._span(0)
        return round(self.left + (value - low) / (high - low) * (self.right - self.left), 1)

    def _y(self, value: float) -> float:
        low, high = self._span(1)
        margin = 0.05 * (high - low)
        return round(self.bottom - (value - low + margin) / (high - low + 2 * margin) * (self.bottom - self.top), 1)

    def _span(self, axis: int) -> tuple[float, float]:
        """Lowest and highest value of an axis; around a single one there is room as well."""
        values = [point[axis] for line in self.lines for point in line.points]
        low, high = min(values), max(values)
        room = (abs(low) or 1.0) / 10 if high - low <= 1e-9 * abs(low) else 0.0
        return low - room, high + room


def _ticks(low: float, high: float, num: int) -> list[float]:
    """Round values of an axis, at most `num`."""
    return [float(value) for value in MaxNLocator(num - 1, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= value <= high]
