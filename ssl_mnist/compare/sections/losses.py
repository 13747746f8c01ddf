"""Pretraining losses."""

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.sections import plot
from ssl_mnist.pages import Chart, Line, Note, Panels, Section


def section(comparison: Comparison) -> Section:
    """A panel a method, because the losses of two methods have no common unit; a line a configuration, of its first seed."""
    groups = comparison.groups
    methods: dict[str, list[Line]] = {}
    for name, runs in list(groups.items())[: plot.MAX_CURVES]:
        if points := runs[0].curve("pretrain/loss"):
            methods.setdefault(runs[0].method, []).append(Line(name, points))
    if not methods:
        return Section("loss", "Pretraining loss", [Note("No run has logged a loss.")])
    panels = {method: Chart(lines, f"pretraining loss of {method} by epoch") for method, lines in methods.items()}
    first = f"the first {plot.MAX_CURVES} of {len(groups)} configurations, " if len(groups) > plot.MAX_CURVES else ""
    note = f"Each method has a loss and an axis of its own; {first}the first seed of each. The axes do not begin at 0."
    return Section("loss", "Pretraining loss", [Panels(panels), Note(note)])
