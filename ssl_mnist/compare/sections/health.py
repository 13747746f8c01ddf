"""What pretraining made of the encoders that were evaluated."""

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.runs import Run, is_finite
from ssl_mnist.pages import Cell, Note, Section, Table


def section(comparison: Comparison) -> Section | None:
    """The verdicts of all seeds, and means of the measures; None where nothing was measured."""
    having = {name: [run for run in runs if run.summary.get("health/verdict")] for name, runs in comparison.groups.items()}
    having = {name: runs for name, runs in having.items() if runs}
    if not having:
        return None
    summaries = [run.summary for runs in having.values() for run in runs]
    titles: dict[str, str] = {}
    for summary in summaries:
        titles |= summary.get("health/measures") or {}
    titles = {f"health/{name}": title for name, title in titles.items() if any(f"health/{name}" in summary for summary in summaries)}
    rows = []
    for name, runs in having.items():
        epochs = sorted({run.summary["pretrain/kept_epoch"] for run in runs if is_finite(run.summary.get("pretrain/kept_epoch"))})
        span = " to ".join(f"{epoch:g}" for epoch in dict.fromkeys([*epochs[:1], *epochs[-1:]]))
        cells = [Cell(name, look="name"), Cell(str(len(runs))), Cell(_verdicts(runs), look="words"), Cell(span or "-")]
        for key in titles:
            values = [run.summary[key] for run in runs if key in run.summary]
            cells.append(Cell(f"{sum(values) / len(values):.4g}" if values else "-"))
        rows.append(cells)
    note = (
        "Measured on embeddings of held-out images, after the epoch whose encoder was evaluated; means over seeds. "
        "The k-NN looks at labels of val, which no training step sees."
    )
    table = Table(["configuration", "n", "verdict", "epoch", *titles.values()], rows, "Health")
    return Section("health", "Did pretraining work?", [table, Note(note)])


def _verdicts(runs: list[Run]) -> str:
    seeds: dict[str, list[str]] = {}
    for run in runs:
        seeds.setdefault(run.summary["health/verdict"], []).append(str(run.seed))
    return "; ".join(told if len(seeds) == 1 else f"{told} (seed {', '.join(those[:5])})" for told, those in seeds.items())
