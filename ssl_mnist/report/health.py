"""Whether pretraining worked: the verdict, the measures that it rests on, and their course over the epochs."""

from ssl_mnist import plots
from ssl_mnist.compare.runs import Run
from ssl_mnist.pages import Cell, Note, Part, Plot, Section, Table
from ssl_mnist.pages.svg import svg
from ssl_mnist.report.curves import history

PREFIXES = {"": "embedding", "projection_": "projection"}


def section(run: Run) -> Section | None:
    """None where nothing was measured."""
    verdict = run.summary.get("health/verdict")
    if not verdict:
        return None
    titles = run.summary.get("health/measures") or {}
    prefixes = [prefix for prefix in PREFIXES if any(f"health/{prefix}{name}" in run.summary for name in titles)]
    rows = []
    for name, title in titles.items():
        found = [run.summary.get(f"health/{prefix}{name}") for prefix in prefixes]
        if any(value is not None for value in found):
            rows.append([Cell(title, look="name"), *(Cell("-" if value is None else f"{value:.4g}") for value in found)])
    epoch = run.summary.get("pretrain/kept_epoch")
    note = f"Measured on embeddings of held-out images, after epoch {epoch}, whose encoder was evaluated."
    parts: list[Part] = [
        Note(f"{verdict}.", ""),
        Table(["measure", *(PREFIXES[prefix] for prefix in prefixes)], rows, "Health"),
        Note(note),
    ]
    measured = [row for row in history(run) if any(f"health/{name}" in row for name in titles)]
    if len(measured) > 1:
        figure = plots.health(measured, titles)
        figure.suptitle("")
        parts.insert(1, Plot(svg(figure, "health"), "Measures of health by epoch"))
    return Section("health", "Did pretraining work?", parts)
