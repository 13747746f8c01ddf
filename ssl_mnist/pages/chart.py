"""Lines over epochs as a few kilobytes of SVG, in the page's colours: what plotly would take megabytes for, and matplotlib seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

from matplotlib.ticker import MaxNLocator

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D31", "#999999")  # most are Okabe and Ito's
DASHES = ("", "6 3", "2 3", "8 3 2 3")  # SVG's; neighbours differ in print too, and a colour that comes again has another
MAX_NAMED = 20  # lines that are named below; the mouse tells the names of more


class Line(NamedTuple):
    name: str
    points: Sequence[tuple[float, float]]  # finite, at least one


class Tick(NamedTuple):
    text: str
    place: float  # in the drawing


class Drawn(NamedTuple):
    """A line, or a dot where it has one point."""

    name: str
    colour: str
    dashes: str
    points: str  # as SVG's polyline takes them
    dot: tuple[float, float] | None


@dataclass(frozen=True)
class Chart:
    """`templates/parts.html` draws it; lengths are in units of the SVG's view box, y downwards."""

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
    def drawn(self) -> list[Drawn]:
        found = []
        for i, line in enumerate(self.lines):
            places = [(self._x(x), self._y(y)) for x, y in line.points]
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            dashes = DASHES[(i + i // len(COLOURS)) % len(DASHES)]
            found.append(Drawn(line.name, COLOURS[i % len(COLOURS)], dashes, points, places[0] if len(places) == 1 else None))
        return found

    @property
    def is_named(self) -> bool:
        """Whether the names of the lines stand below."""
        return 1 < len(self.lines) <= MAX_NAMED

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
