"""What training logged: a panel a term, from metrics.jsonl."""

import math

from ssl_mnist.compare.runs import Run, is_finite
from ssl_mnist.pages import Chart, Line, Note, Panels, Section

MAX_POINTS = 400  # of a curve; of more, every second, third, ... is drawn
LEFT_OUT = ("images_per_second", "epoch_loss")
TITLES = {"lr": "learning rate"}


def section(run: Run) -> Section | None:
    """None where nothing was trained."""
    keys = dict.fromkeys(key for row in run.history for key in row if key.startswith("pretrain/"))
    panels = {}
    for key in keys:
        term, points = key.removeprefix("pretrain/"), curve(run, key)
        if points and term not in LEFT_OUT:
            title = TITLES.get(term, term.replace("_", " "))
            panels[title] = Chart([Line(title, points)], f"{title} by epoch")
    note = Note("A point is the mean since the point before it. The axes do not begin at 0.")
    return Section("curves", "Training", [Panels(panels), note]) if panels else None


def curve(run: Run, key: str) -> list[tuple[float, float]]:
    """(epoch, value) of the rows of metrics.jsonl that hold both as numbers."""
    points = [(row["epoch"], row[key]) for row in run.history if is_finite(row.get("epoch")) and is_finite(row.get(key))]
    return points[:: math.ceil(len(points) / MAX_POINTS) or 1]
