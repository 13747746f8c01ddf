"""Accuracy on corrupted images: a panel a corruption, a line a configuration."""

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.robustness import corrupted
from ssl_mnist.compare.sections import plot
from ssl_mnist.pages import Note, Panels, Part, Section


def section(comparison: Comparison) -> Section | None:
    parts = robustness_parts(comparison, list(comparison.groups))
    return Section("robustness", "Corrupted images", parts) if parts else None


def robustness_parts(comparison: Comparison, order: list[str]) -> list[Part]:
    """Nothing where no run was evaluated on corrupted images. order: all configurations of the page, by which each has its colour."""
    groups, note = plot.drawn(comparison.groups, comparison.ranking)
    found = corrupted(groups)
    if found is None:
        return []
    plots = {}
    for name, panel in found.panels.items():
        figure = plot.new_figure(panel.strength, f"{found.split} accuracy, %", 300)
        for configuration, values in panel.lines.items():
            line = plot.line(order.index(configuration))
            figure.add_scatter(x=panel.ticks, y=values, name=plot.text(configuration), mode="lines+markers", line=line)
        if panel.untrained:
            untrained = {"color": "#888", "dash": "dash"}
            figure.add_scatter(x=panel.ticks, y=panel.untrained, name="untrained", mode="lines", line=untrained)
        figure.update_xaxes(type="category").update_yaxes(rangemode="tozero")
        plots[name.replace("_", " ")] = plot.plot(figure, plot.NARROW)
    note = (
        f"{note}Means over seeds, by the {found.title}; the left end of a line is the accuracy on the same images as they are. "
        "The grey dashed line is the untrained encoder."
    )
    if found.left_out:
        note += f" Without {', '.join(found.left_out[:10])}: not evaluated on these corruptions, on the same data."
    return [Panels(plots), Note(note)]
