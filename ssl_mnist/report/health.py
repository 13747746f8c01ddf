"""Whether pretraining worked: the verdict, the measures that it rests on, and their course over the epochs."""

from ssl_mnist.compare.runs import Run
from ssl_mnist.pages import Cell, Chart, Details, Line, Note, Panels, Part, Section, Table

OF = {"": "embedding", "projection_": "projection"}  # prefixes of a measure's name


def section(run: Run) -> Section | None:
    """None where nothing was measured."""
    verdict = run.summary.get("health/verdict")
    if not verdict:
        return None
    titles = run.summary.get("health/measures") or {}
    panels = {}
    for name, title in titles.items():
        lines = [Line(of, points) for prefix, of in OF.items() if (points := run.curve(f"health/{prefix}{name}"))]
        if any(len(line.points) > 1 for line in lines):
            panels[title] = Chart(lines, f"{title} by epoch")
    parts: list[Part] = [Note(f"{verdict}.", "")]
    parts += [Panels(panels)] if panels else []
    epoch = run.summary.get("pretrain/kept_epoch")
    note = f"Measured on embeddings of held-out images; the verdict is on epoch {epoch}, whose encoder was evaluated."
    return Section("health", "Did pretraining work?", [*parts, Details("In numbers", [_table(run, titles)]), Note(note)])


def _table(run: Run, titles: dict[str, str]) -> Table:
    prefixes = [prefix for prefix in OF if any(f"health/{prefix}{name}" in run.summary for name in titles)]
    rows = []
    for name, title in titles.items():
        found = [run.summary.get(f"health/{prefix}{name}") for prefix in prefixes]
        if any(value is not None for value in found):
            rows.append([Cell(title, look="name"), *(Cell("-" if value is None else f"{value:.4g}") for value in found)])
    return Table(["measure", *(OF[prefix] for prefix in prefixes)], rows, "Health")
