"""The tables of scores: a row a configuration, a column a score; below a line the references."""

from ssl_mnist.compare.comparison import Comparison, Score, cell, num_images
from ssl_mnist.compare.sections.references import reference_mark, reference_rows, references_note
from ssl_mnist.intervals import percent, sampling_error
from ssl_mnist.pages import Cell, Details, Note, Part, Section, Table

BEST = "best mean of the column"


def section(comparison: Comparison) -> Section:
    """The split that decides; the other one is folded away."""
    other = "val" if comparison.split == "test" else "test"
    parts: list[Part] = [*score_table(comparison, comparison.split)]
    if comparison.scores_on(other):
        note = " (nothing is chosen by them)" if other == "test" else ""
        parts.append(Details(f"Scores on {other}{note}", score_table(comparison, other)))
    return Section("scores", f"Scores on {comparison.split}", parts)


def score_table(comparison: Comparison, split: str) -> list[Part]:
    scores = comparison.scores_on(split)
    best = {score.key: comparison.best_rows(score.key, score.higher) for score in scores}
    rows = []
    for row in comparison.rows:
        name = row["configuration"]
        cells = [Cell(name, look="name", below=reference_mark(comparison.groups[name][0])), Cell(str(row["n"]))]
        for score in scores:
            mean = row.get(f"{score.key} mean", -1)
            cells.append(Cell(cell(row, score), mean, BEST if name in best[score.key] else ""))
        rows.append(cells)
    heads = ["configuration", "n", *(_head(score) for score in scores)]
    images = num_images(next(iter(comparison.groups.values()))[0], split)
    foot = _foot(comparison, scores, split, images) if images else []
    below = reference_rows(comparison, scores)
    table = Table(heads, rows, f"Scores on {split}", foot, below)
    return [table, Note(_how_to_read(comparison, split, images)), *references_note(comparison)]


def _head(score: Score) -> str:
    return f"{score.title}{', %' if score.is_accuracy else ''}{'' if score.higher else ' (lower is better)'}"


def _foot(comparison: Comparison, scores: list[Score], split: str, images: int) -> list[Cell]:
    """The sampling error of each accuracy."""
    cells = [Cell(f"sampling error of {images:,} {split} images, at the column's best", look="short"), Cell("")]
    for score in scores:
        means = [row[f"{score.key} mean"] for row in comparison.table if f"{score.key} mean" in row]
        best = (max if score.higher else min)(means)
        cells.append(Cell(f"± {percent(sampling_error(best, score.num_images or images))}" if score.is_accuracy else ""))
    return cells


def _how_to_read(comparison: Comparison, split: str, images: int | None) -> str:
    sizes = {len(runs) for runs in comparison.groups.values()}
    text = f"n is the number of seeds. A click on a head sorts. {split.capitalize()} accuracy: mean"
    if any(comparison.best_rows(score.key, score.higher) for score in comparison.scores_on(split)):
        text = f"The best mean of each column is marked. {text}"
    if max(sizes) > 2:
        text += " ± half width of the 95 % confidence interval over seeds (Student's t, never narrower than one image of the split)"
    if 2 in sizes:
        text += "; of two seeds both values"
    if any(" to " in cell(row, score) for row in comparison.table for score in comparison.scores_on(split)):
        text += "; lowest to highest where the seeds differ so much that an interval would leave 0 to 100 %"
    if images and max(sizes) > 1:
        text += (
            ". The interval over seeds does not hold the sampling error of the images themselves, which all runs share: "
            "a claim about a published number needs both"
        )
    return text + "."
