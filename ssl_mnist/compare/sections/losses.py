"""Pretraining losses."""

import math

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.runs import Run, is_finite
from ssl_mnist.compare.sections import plot
from ssl_mnist.pages import Note, Panels, Plot, Section

MAX_POINTS = 400  # of a curve


def section(comparison: Comparison) -> Section:
    """A panel a method, because the losses of two methods have no common unit; a line a configuration, of its first seed."""
    groups = comparison.groups
    methods: dict[str, dict[str, Run]] = {}
    for name, runs in list(groups.items())[: plot.MAX_CURVES]:
        methods.setdefault(runs[0].method, {})[name] = runs[0]
    panels: dict[str, Plot] = {}
    for method, lines in methods.items():
        figure = plot.new_figure("epoch", "loss", 300)
        for i, (name, run) in enumerate(lines.items()):
            rows = [row for row in run.history if is_finite(row.get("pretrain/loss")) and is_finite(row.get("epoch"))]
            rows = rows[:: math.ceil(len(rows) / MAX_POINTS) or 1]
            x, y = [row["epoch"] for row in rows], [row["pretrain/loss"] for row in rows]
            figure.add_scatter(
                x=x,
                y=y,
                name=plot.text(name),
                mode="lines" if len(x) > 1 else "markers",
                line=plot.line(i),
                marker=plot.colour(i),
                showlegend=len(lines) > 1,
            )
        if any(trace.x for trace in figure.data):
            panels[method] = plot.plot(figure, plot.NARROW if len(methods) > 1 else plot.WIDE)
    if not panels:
        return Section("loss", "Pretraining loss", [Note("No run has logged a loss.")])
    first = f"the first {plot.MAX_CURVES} of {len(groups)} configurations, " if len(groups) > plot.MAX_CURVES else ""
    note = f"Each method has a loss and an axis of its own; {first}the first seed of each. The axes do not begin at 0."
    return Section("loss", "Pretraining loss", [Panels(panels), Note(note)])
