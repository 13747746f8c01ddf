"""What training logged, as curves: light SVG drawn from metrics.jsonl."""

import math

from ssl_mnist import plots
from ssl_mnist.compare.runs import Run, is_finite
from ssl_mnist.pages import Note, Panels, Plot, Section
from ssl_mnist.pages.svg import svg

MAX_ROWS = 400  # of metrics; of more, every second, third, ... is drawn


def section(run: Run) -> Section | None:
    """None where nothing was trained."""
    rows = history(run)
    rows = rows[:: math.ceil(len(rows) / MAX_ROWS) or 1]
    drawn = {}
    for name, figure in plots.of_training(rows).items():
        title = figure.get_suptitle()
        figure.suptitle("")  # it stands above the panel
        drawn[title] = Plot(svg(figure, name), name.replace("_", " "))
    note = Note("From metrics.jsonl: a point is the mean since the point before it.")
    return Section("curves", "Training", [Panels(drawn), note]) if drawn else None


def history(run: Run) -> list[dict[str, float]]:
    """The rows of metrics.jsonl that name their epoch, with their numbers alone."""
    return [{key: value for key, value in row.items() if is_finite(value)} for row in run.history if is_finite(row.get("epoch"))]
