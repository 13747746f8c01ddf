"""What each swept setting does, where more than the method was swept: a line for numbers, a heat map for names and for a pair."""

import plotly.graph_objects as go

from ssl_mnist.compare.comparison import Comparison, Score
from ssl_mnist.compare.runs import Run, by_size, is_number, value_of
from ssl_mnist.compare.sections import plot
from ssl_mnist.compare.sections.references import reference_lines
from ssl_mnist.intervals import estimate
from ssl_mnist.pages import Note, Section

MAX_CELLS = 400  # of a heat map


def sections(comparison: Comparison) -> list[Section]:
    keys, score, runs = comparison.swept, comparison.primary, comparison.sweep.runs
    if keys in ([], ["method"]) or score is None or comparison.parts:
        return []
    runs = [run for run in runs if score.key in run.summary]
    if len(keys) == 2:
        x, y = (sorted({value_of(run, key) for run in runs}, key=by_size) for key in (keys[1], keys[0]))
        if len(x) * len(y) <= min(MAX_CELLS, 4 * len(runs)):
            return [_pair(keys[0], keys[1], x, y, runs, score)]
    return [found for i, key in enumerate(keys) if (found := _effect(i, key, keys, runs, comparison, score))]


def _pair(first: str, second: str, x: list[str], y: list[str], runs: list[Run], score: Score) -> Section:
    figure = plot.new_figure(second, first)
    values: dict[tuple[str, str], list[float]] = {(a, b): [] for a in y for b in x}
    for run in runs:
        values[value_of(run, first), value_of(run, second)].append(run.summary[score.key])
    z = [[plot.scaled(score, sum(found) / len(found)) if (found := values[a, b]) else None for b in x] for a in y]
    bar, ticks = {"title": "%" if score.is_accuracy else ""}, (plot.ticks(x), plot.ticks(y))
    figure.add_heatmap(x=ticks[0], y=ticks[1], z=z, colorscale="Viridis", colorbar=bar, texttemplate="%{z:.2f}", hoverongaps=False)
    figure.update_xaxes(type="category").update_yaxes(type="category")
    sizes = sorted({len(found) for found in values.values()})
    n = f"Mean of {_count(sizes[0], 'seed')} a cell." if len(sizes) == 1 else f"Unbalanced: {sizes[0]} to {sizes[-1]} seeds a cell."
    return Section("effect-0", f"Effect of {first} and {second} on {plot.named(score)}", [plot.plot(figure), Note(n)])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _is_balanced(key: str, keys: list[str], having: dict[str, list[Run]]) -> bool:
    """Whether every value was run with the same other settings and seeds."""
    others = [other for other in keys if other != key]
    designs = [sorted(([value_of(run, other) for other in others], run.seed) for run in runs) for runs in having.values()]
    return all(design == designs[0] for design in designs)


def _effect(number: int, key: str, keys: list[str], runs: list[Run], comparison: Comparison, primary: Score) -> Section | None:
    x = sorted({value_of(run, key) for run in runs}, key=by_size)
    if len(x) < 2:
        return None
    having: dict[str, list[Run]] = {value: [] for value in x}
    for run in runs:
        having[value_of(run, key)].append(run)
    numeric, balanced, others = all(is_number(value) for value in x), _is_balanced(key, keys, having), len(keys) > 1
    n = len(having[x[0]])
    if not balanced:
        figure = plot.new_figure(key, plot.named(primary))
        values = [value_of(run, key) for run in runs]
        points = [plot.scaled(primary, run.summary[primary.key]) for run in runs]
        places = [float(value) if numeric else plot.text(value, 30) for value in values]
        figure.add_scatter(x=places, y=points, mode="markers", marker=plot.colour(0))
        sizes = sorted({len(found) for found in having.values()})
        span = _count(sizes[0], "run") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} runs"
        note = (
            f"The design is unbalanced ({span} a value, not with the same other settings and seeds): "
            "a point a run, no mean and no interval."
        )
    elif numeric:
        figure = plot.new_figure(key, plot.named(primary))
        found = [estimate([run.summary[primary.key] for run in having[value]]) for value in x]
        half_widths = [plot.scaled(primary, one.half_width) for one in found]
        error = {"type": "data", "array": half_widths} if n > 2 else None
        means = [plot.scaled(primary, one.mean) for one in found]
        figure.add_scatter(x=[float(v) for v in x], y=means, mode="lines+markers", error_y=error, line=plot.colour(0))
        over = "seeds and the other swept settings" if others else "seeds"
        note = f"Mean of n = {n} a value" + (f" and its 95 % interval over {over}." if n > 2 else f", over {over}; no interval below 3.")
    else:
        scores = comparison.scores_on(comparison.split)
        figure, note = _scores_by(key, having, scores), f"Means of n = {n} a value. Colour: how far behind the column's best."
    if numeric:
        low, high = float(x[0]), float(x[-1])
        if low > 0 and high / low > 30:
            figure.update_xaxes(type="log")
    elif not balanced:
        figure.update_xaxes(type="category")
    if numeric or not balanced:
        note += f" {reference_lines(figure, comparison, primary)}"
    return Section(f"effect-{number}", f"Effect of {key}", [plot.plot(figure), Note(note.strip())])


def _scores_by(key: str, having: dict[str, list[Run]], scores: list[Score]) -> go.Figure:
    """A row a value, a column an accuracy; the colour is the distance to the column's best, so that all columns share one scale."""
    scores = [score for score in scores if score.is_accuracy]
    cells: list[list[float | None]] = []
    for runs in having.values():
        row: list[float | None] = []
        for score in scores:
            found = [run.summary[score.key] for run in runs if score.key in run.summary]
            row.append(100 * sum(found) / len(found) if found else None)
        cells.append(row)
    best = [max((cell for cell in column if cell is not None), default=0.0) for column in zip(*cells, strict=True)]
    behind = [[None if cell is None else cell - top for cell, top in zip(row, best, strict=True)] for row in cells]
    figure = plot.new_figure("", key, max(380, 120 + 22 * len(having)))
    bar = {"title": {"text": "points<br>to the best"}}
    x, y = [plot.text(score.title) for score in scores], plot.ticks(list(having))
    figure.add_heatmap(x=x, y=y, z=behind, text=cells, texttemplate="%{text:.2f} %", colorscale="Viridis", colorbar=bar)
    return figure.update_yaxes(type="category", autorange="reversed")
