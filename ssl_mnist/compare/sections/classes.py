"""The accuracy of each class."""

import math

import plotly.graph_objects as go

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.runs import Run
from ssl_mnist.compare.sections import plot
from ssl_mnist.pages import Note, Section

MAX_CLASSES, MAX_CONFIGURATIONS = 20, 15
MAX_BARS = 8  # a class; with more configurations than that a heat map tells them apart


def section(comparison: Comparison) -> Section | None:
    """Of up to 20 classes; of more, those that are worst on average."""
    first = comparison.groups[comparison.ranking[0]][0] if comparison.ranking else comparison.sweep.runs[0]
    split = comparison.split if _per_class(first, comparison.split) else "val" if comparison.split == "test" else "test"
    num = len(_per_class(first, split) or [])
    means: dict[str, list[float]] = {}  # in percent; a class without an image is nan
    best = comparison.ranking[:MAX_CONFIGURATIONS] if len(comparison.groups) > MAX_CONFIGURATIONS else []
    for name in best or comparison.groups:
        found = [values for run in comparison.groups[name] if (values := _per_class(run, split)) and len(values) == num]
        if found and comparison.groups[name][0].data == first.data:
            means[name] = [100 * sum(column) / len(column) for column in zip(*found, strict=True)]
    if not means:
        return None
    classes = first.summary.get("data/classes") or []
    classes = classes if len(classes) == num else [str(i) for i in range(num)]
    average = [sum(column) / len(column) for column in zip(*means.values(), strict=True)]
    known = [i for i in range(num) if not math.isnan(average[i])]
    if not known:
        return None
    shown = known if len(known) <= MAX_CLASSES else sorted(sorted(known, key=lambda i: average[i])[:MAX_CLASSES])
    title = next((s.title for s in comparison.scores if s.key == f"{split}/{first.summary.get('primary')}_accuracy"), "accuracy")
    of = f"{split} accuracy, {title}, %"
    in_order = {name: means[name] for name in comparison.groups if name in means}
    figure, note = (_bars if len(means) <= MAX_BARS else _heat_map)(in_order, classes, shown, of)
    if len(shown) < num:
        note += f" The {len(shown)} classes with the lowest accuracy, of {num:,}."
    if len(means) < len(comparison.groups):
        note += f" {len(means)} of {len(comparison.groups)} configurations: the best on the same data."
    return Section("classes", "Accuracy of each class", [plot.plot(figure, label=of), *([Note(note.strip())] if note else [])])


def _bars(means: dict[str, list[float]], classes: list[str], shown: list[int], title: str) -> tuple[go.Figure, str]:
    figure = plot.new_figure("class", title)
    for i, (name, values) in enumerate(means.items()):
        hover = [f"{plot.text(classes[k], 200)}: {values[k]:.2f} %" for k in shown]
        y = [None if math.isnan(values[k]) else values[k] for k in shown]
        figure.add_bar(x=list(range(len(shown))), y=y, name=plot.text(name), hovertext=hover, hoverinfo="text+name", marker=plot.colour(i))
    low = min(value for values in means.values() for k in shown if not math.isnan(value := values[k]))
    begin = max(0.0, math.floor(low - (100 - low) * 0.3 - 0.5))
    figure.update_yaxes(range=[begin, 100])
    long = max(len(classes[k]) for k in shown) > 4
    names = [plot.text(classes[k], 20) for k in shown]
    figure.update_xaxes(tickvals=list(range(len(shown))), ticktext=names, tickangle=-40 if long else 0)
    return figure, f"The axis begins at {begin:.0f} %, not at 0: compare the ends of the bars, not their lengths." if begin else ""


def _heat_map(means: dict[str, list[float]], classes: list[str], shown: list[int], title: str) -> tuple[go.Figure, str]:
    """A row a configuration, the best at the top."""
    order = sorted(means, key=lambda name: -sum(value for k in shown if not math.isnan(value := means[name][k])))
    z = [[None if math.isnan(means[name][k]) else round(means[name][k], 2) for k in shown] for name in order]
    figure = plot.new_figure("class", "", 140 + 24 * len(order))
    x, y = plot.ticks([classes[k] for k in shown]), plot.ticks(order)
    figure.add_heatmap(x=x, y=y, z=z, colorscale="Viridis", colorbar={"title": "%"}, texttemplate="%{z:.1f}", hoverongaps=False)
    figure.update_xaxes(type="category").update_yaxes(type="category", autorange="reversed")
    return figure, f"{title[:1].upper()}{title[1:]}: means over seeds, the configuration with the best mean at the top."


def _per_class(run: Run, split: str) -> list[float] | None:
    return run.summary.get(f"{split}/per_class_accuracy") or None
