"""Floors and ceilings: rows below the table's own, and dashed lines in plots of a score."""

import plotly.graph_objects as go

from ssl_mnist.compare.comparison import Comparison, Score, cell
from ssl_mnist.compare.references import kind
from ssl_mnist.compare.runs import Run
from ssl_mnist.compare.sections import plot
from ssl_mnist.pages import Cell, Note

WORDS = {"floor": "floor: no training", "ceiling": "ceiling: trained with labels"}
MAX_LINES = 12  # in a plot
SUFFIX = " (reference)"  # of a line's name
DASHES = ["dash", "dot", "dashdot", "longdash"]


def reference_mark(run: Run) -> str:
    """What a run is, where it is a reference; else empty."""
    return WORDS.get(kind(run), kind(run))


def reference_rows(comparison: Comparison, scores: list[Score]) -> list[list[Cell]]:
    """Rows of the table of scores, in its columns. None of their cells is marked as the best."""
    rows = []
    for row in comparison.reference_rows:
        name = row["configuration"]
        cells = [Cell(name, look="name", below=reference_mark(comparison.references.runs[name][0])), Cell(str(row["n"]))]
        rows.append(cells + [Cell(cell(row, score), row.get(f"{score.key} mean", -1)) for score in scores])
    return rows


def references_note(comparison: Comparison) -> list[Note]:
    """How to read the rows below the line, and how to make those that are missing."""
    found, words = comparison.references, []
    if found.runs:
        days = sorted(run.record["started"][:10] for runs in found.runs.values() for run in runs)
        made = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
        text = f"Below the line: floors and ceilings on the same data with the same probes, kept from earlier runs ({made})"
        words.append(f"{text}; they are not ranked and not compared.")
    words += [f"{name}: {note}." for name, note in found.notes.items()]
    words += [f"References {found.line}"] if found.missing else []
    return [Note(" ".join(words), code=found.command)] if words else []


def reference_lines(figure: go.Figure, comparison: Comparison, score: Score) -> str:
    """Draw the level of each reference, kept or of the sweep, into a plot whose vertical axis is a score; returns a note on them.

    A sweep of references alone gets no lines: they are its points.
    """
    own = {name: runs for name, runs in comparison.groups.items() if kind(runs[0])}
    groups = comparison.references.runs | (own if len(own) < len(comparison.groups) else {})
    levels = {}
    for name, runs in groups.items():
        values = [run.summary[score.key] for run in runs if score.key in run.summary]
        if values:
            levels[name] = plot.scaled(score, sum(values) / len(values))
    for i, name in enumerate(sorted(levels, key=lambda name: levels[name])[:MAX_LINES]):
        place = f"{'top' if i // 2 % 2 else 'bottom'} {'right' if i % 2 else 'left'}"  # neighbours at different ends of the plot
        label = plot.text(f"{name[:40]} {levels[name]:.2f}")
        figure.add_hline(
            y=levels[name], line={"dash": "dash", "color": "#888", "width": 1}, annotation_text=label, annotation_position=place
        )
    if not levels:
        return ""
    points = [float(y) for trace in figure.data for y in (trace.y if trace.y is not None else ()) if y is not None]
    low, high = min([*points, *levels.values()]), max([*points, *levels.values()])  # a line by itself does not widen an axis
    margin = 0.08 * (high - low) or 1.0
    figure.update_yaxes(range=[low - margin, high + margin])
    return "The dashed lines are the references. "


def as_lines(comparison: Comparison) -> dict[str, list[Run]]:
    """The kept references as configurations of a plot with a line a configuration."""
    return {f"{name}{SUFFIX}": runs for name, runs in list(comparison.references.runs.items())[:MAX_LINES]}


def dash(figure: go.Figure) -> None:
    """Have the lines of `as_lines` grey, each with dashes of its own."""
    found = [trace for trace in figure.data if str(trace.name).endswith(SUFFIX)]
    for i, trace in enumerate(found):
        trace.line = {"color": "#888", "dash": DASHES[i % len(DASHES)]}
