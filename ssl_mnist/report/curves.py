"""What training logged: a panel a term, from metrics.jsonl."""

from ssl_mnist.compare.runs import Run
from ssl_mnist.pages import Chart, Line, Note, Panels, Section

LEFT_OUT = ("images_per_second", "epoch_loss")
TITLES = {"lr": "learning rate"}


def section(run: Run) -> Section | None:
    """None where nothing was trained."""
    keys = dict.fromkeys(key for row in run.history for key in row if key.startswith("pretrain/"))
    panels = {}
    for key in keys:
        term, points = key.removeprefix("pretrain/"), run.curve(key)
        if points and term not in LEFT_OUT:
            title = TITLES.get(term, term.replace("_", " "))
            panels[title] = Chart([Line(title, points)], f"{title} by epoch")
    note = Note("A point is the mean since the point before it. The axes do not begin at 0.")
    return Section("curves", "Training", [Panels(panels), note]) if panels else None
