"""The primary score against wall time, a point a run."""

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.sections import plot
from ssl_mnist.compare.sections.references import reference_lines
from ssl_mnist.pages import Note, Section


def section(comparison: Comparison) -> Section | None:
    score = comparison.primary
    if score is None:
        return None
    figure = plot.new_figure("wall time, s", plot.named(score))
    groups, note = plot.drawn(comparison.groups, comparison.ranking)
    for i, (name, runs) in enumerate(groups.items()):
        having = [run for run in runs if score.key in run.summary and run.summary.get("seconds") is not None]
        x, y = [run.summary["seconds"] for run in having], [plot.scaled(score, run.summary[score.key]) for run in having]
        marker = plot.colour(i) | {"size": 10, "symbol": i // len(plot.COLOURS)}
        figure.add_scatter(x=x, y=y, name=plot.text(name), text=[f"seed {run.seed}" for run in having], mode="markers", marker=marker)
    note += reference_lines(figure, comparison, score)
    note += "A point a run. The axes do not begin at 0."
    return Section("time", f"Accuracy against time: {score.title}", [plot.plot(figure), Note(note)])
