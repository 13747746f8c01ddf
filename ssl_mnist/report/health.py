"""Whether pretraining worked: the verdict, the measures that it rests on, and their course over the epochs."""

from ssl_mnist import plots
from ssl_mnist.compare.runs import Run
from ssl_mnist.pages import Cell, Note, Part, Plot, Section, Table
from ssl_mnist.pages.svg import svg
from ssl_mnist.report.curves import history


def section(run: Run) -> Section | None:
    """None where nothing was measured."""
    verdict = run.summary.get("health/verdict")
    if not verdict:
        return None
    titles = run.summary.get("health/measures") or {}
    measured = {f"health/{prefix}{name}": f"{title}{of}" for prefix, of in _OF.items() for name, title in titles.items()}
    rows = [[Cell(title, look="name"), Cell(f"{run.summary[key]:.4g}")] for key, title in measured.items() if key in run.summary]
    epoch = run.summary.get("pretrain/kept_epoch")
    note = f"Measured on embeddings of held-out images, after epoch {epoch}, whose encoder was evaluated."
    parts: list[Part] = [Note(f"{verdict}.", ""), Table(["measure", "value"], rows, "Health"), Note(note)]
    rows_of_metrics = [row for row in history(run) if any(key in row for key in measured)]
    if len(rows_of_metrics) > 1:
        parts.insert(1, Plot(svg(plots.health(rows_of_metrics, titles)), "Measures of health by epoch"))
    return Section("health", "Did pretraining work?", parts)


_OF = {"": "", "projection_": ", of the projection"}
