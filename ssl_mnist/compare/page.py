"""The comparison as one self-contained HTML page: opens from disk, needs no network. Interactive plots are plotly's.

Whatever comes from a file or folder is escaped where it is put into HTML (`_e`) or into a plot's text (`_t`).
"""

import base64
import html
import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ssl_mnist.compare import labels
from ssl_mnist.compare.cka import similarity
from ssl_mnist.compare.errors import errors_of
from ssl_mnist.compare.errors import mean as mean_count
from ssl_mnist.compare.reference_page import as_lines, dash, reference_lines, reference_mark, reference_rows, references_note
from ssl_mnist.compare.report import Comparison, Score, cell, num_images, run_warnings
from ssl_mnist.compare.robustness import corrupted
from ssl_mnist.compare.runs import COSTS, Job, Run, by_size, is_finite, is_number, value_of
from ssl_mnist.compare.statistics import Verdict, estimate, percent, sampling_error, seeds_needed

COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D31", "#999999"]
DASHES = ["solid", "dash", "dot", "dashdot"]  # and markers' shapes, from the ninth configuration on
# So that a page of 500 runs stays small; what is left out is said, and linked where it has a file.
MAX_PICTURES, MAX_CURVES, MAX_POINTS, MAX_VERDICTS, MAX_LISTED = 12, 60, 400, 60, 100
MAX_PICTURE_BYTES = 4 * 2**20  # of all embedded figures together
MAX_CLASSES, MAX_BARS = 20, 15  # classes, and configurations, in the plot of classes
MAX_CELLS = 400  # of a heat map
MAX_LEGEND = 20
# Figures of the runs that are embedded, as far as the bytes reach, in the order of the page.
PICTURES = {
    "tsne": "Latent space, t-SNE",
    "pca": "Latent space, PCA",
    "most_confused": "Most confused classes",
    "furthest_from_class": "Images furthest from their class",
    "nearest_neighbours": "Nearest neighbours",
}

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1b1b1b; --soft: #666; --line: #ddd; --paper: #fff; --bad: #b00020; --link: #1f6fb2; --best: #e3f1e6;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #aaa; --line: #444; --paper: #161616; --bad: #ff8a80; --link: #6cb4ee; --best: #1e3a26; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 80rem; margin: auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.3; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 1rem; margin: .5rem 0 0; }
h1, h2, h3, p, li, figcaption { overflow-wrap: anywhere; }
.wide { overflow: auto; max-height: 60rem; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
.name { display: inline-block; width: max-content; max-width: min(22rem, 40vw); overflow-wrap: anywhere; }
.short { max-width: min(12rem, 40vw); }
thead th { white-space: normal; vertical-align: bottom; min-width: 4.5rem; }
.settings td { white-space: normal; max-width: 20rem; overflow-wrap: anywhere; }
td.words { white-space: normal; min-width: 16rem; text-align: left; }
td.best { background: var(--best); font-weight: 600; }
.references tr:first-child td { border-top: 2px solid var(--line); } .references td { color: var(--soft); }
tfoot td { color: var(--soft); border-bottom: 0; position: sticky; bottom: 0; background: var(--paper); }
thead th { position: sticky; top: 0; background: var(--paper); }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: inherit; cursor: pointer; }
th button:after { content: " ↕"; color: var(--soft); } th[aria-sort=ascending] button:after { content: " ↑"; }
th[aria-sort=descending] button:after { content: " ↓"; }
.xtick text, .ytick text, .xtitle, .ytitle, .legendtext, .cbaxis text, .cbtitle text, .annotation text { fill: var(--soft) !important; }
code { overflow-wrap: anywhere; } .soft { color: var(--soft); } .bad { color: var(--bad); } a { color: var(--link); }
.pictures, .panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 1rem; }
.nearest_neighbours, .furthest_from_class, .most_confused { grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); }
.pictures.most_confused img { width: auto; max-width: 100%; max-height: 40rem; }
.panels { grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); } .panels > div { min-width: 0; }
.pictures img { width: 100%; background: #fff; padding: .5rem; border-radius: .5rem; border: 1px solid var(--line); }
figure { margin: 0; } li { margin: .3rem 0; } summary { cursor: pointer; font-weight: 600; }
@media print {
  body { max-width: none; } h2 { break-after: avoid; } figure, tr, li, .plotly-graph-div { break-inside: avoid; }
  th button:after { content: ""; }
  .wide { overflow: visible; max-height: none; } table { font-size: 8pt; } th, td { padding: .2rem .25rem; white-space: normal; }
}
"""
# Sorting by a column's head, which is a button; everything else that moves on the page is plotly's.
SORT = """
for (const head of document.querySelectorAll("th")) if (head.firstElementChild) head.firstElementChild.onclick = () => {
  const body = head.closest("table").tBodies[0], i = head.cellIndex, up = head.ariaSort !== "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = row => row.cells[i].dataset.value ?? row.cells[i].textContent;
  const order = (a, b) => { const x = value(a), y = value(b); return isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y; };
  body.append(...[...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)));
};
for (const details of document.querySelectorAll("details")) details.ontoggle = () => window.dispatchEvent(new Event("resize"));
"""


def page(comparison: Comparison) -> str:
    sweep, groups = comparison.sweep, comparison.groups
    how = f" <code>{_e(comparison.evaluate)}</code>" if comparison.evaluate else ""
    parts = [f"<p>{_e(comparison.basis)}{how}</p>" if groups else ""]
    parts += [f"<p class=soft>{_e(_overview(comparison))}</p>", _notices(comparison)]
    if groups:
        other = "val" if comparison.split == "test" else "test"
        parts += [f"<h2>Scores on {comparison.split}</h2>", _scores(comparison, comparison.split)]
        if comparison.scores_on(other):
            note = " (nothing is chosen by them)" if other == "test" else ""
            parts.append(f"<details><summary>Scores on {other}{note}</summary>{_scores(comparison, other)}</details>")
        parts += ["<h2>Costs</h2>", _costs(comparison), "<h2>Which is better?</h2>", _verdicts(comparison), _different(comparison)]
        if comparison.primary:
            parts.append(_against_time(comparison, comparison.primary))
        parts += [
            _few_labels(comparison),
            _losses(groups),
            _health(groups),
            _classes(comparison),
            _errors(comparison),
            _similarity(comparison),
            _effects(comparison),
            _robustness(comparison),
            _pictures(comparison),
        ]
        parts += ["<h2>Runs</h2>", _links(groups)]
    parts += ["<h2>How this was made</h2>", _made(comparison)]
    title = f"{comparison.answer}."
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'><title>{_e(title)}</title>"
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><h1>{_e(title)}</h1>{''.join(parts)}<p class=soft>{_e(os.fsencode(sweep.folder.absolute()).decode(errors='replace'))}</p>"
        f"<script>{SORT}</script></body></html>"
    )


def _e(text: Any) -> str:
    return html.escape(str(text))


def _t(text: str, length: int = 60) -> str:
    """For plotly, whose texts know some HTML tags. A long text loses its middle, since names often differ at their end."""
    half = (length - 1) // 2
    return html.escape(text if len(text) <= length else f"{text[:half]}…{text[-half:]}", quote=False)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _overview(comparison: Comparison) -> str:
    runs = comparison.sweep.runs
    sizes = sorted({f"{run.data[0]} ({run.summary['data/train_size']:,} images)" for run in runs if run.summary.get("data/train_size")})
    parts = [_count(len(runs), "run"), _count(len(comparison.groups), "configuration"), *sizes[:5]]
    parts += [_dates(runs), *_machines(runs), *_versions(runs)]
    return ", ".join(part for part in parts if part)


def _dates(runs: list[Run]) -> str:
    days = sorted({run.record["started"][:10] for run in runs})
    return "" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _machines(runs: list[Run]) -> list[str]:
    def of(run: Run) -> str:
        about = {key: run.summary.get(f"machine/{key}", "?") for key in ("processor", "cpus", "threads", "device", "precision")}
        threads = f"{about['threads']} thread{'s' * (about['threads'] != 1)}"
        return f"{about['processor']}, {about['cpus']} cpus, {threads}, {about['device']}, precision {about['precision']}"

    return [machine for machine, _ in Counter(of(run) for run in runs).most_common(5)]


def _versions(runs: list[Run]) -> list[str]:
    return [f"ssl_mnist {version}" for version in sorted({run.summary["versions/ssl_mnist"] for run in runs})[:5]]


def _made(comparison: Comparison) -> str:
    """Commands, dates, machines, versions and code of all runs: a sweep may have been continued, or made by several commands."""
    runs = comparison.sweep.runs
    commands = list(dict.fromkeys(run.record["command"] for run in sorted(runs, key=lambda run: run.record["started"])))
    commits = sorted({_commit(run) for run in runs} - {""})
    torch = sorted({f"torch {run.summary['versions/torch']}" for run in runs if "versions/torch" in run.summary})
    lines = [f"<li><code>{_e(command)}</code></li>" for command in commands[:MAX_LISTED] if command]
    lines += [f"<li>and {len(commands) - MAX_LISTED} more commands, in the runs' run.json</li>"] if len(commands) > MAX_LISTED else []
    facts = [_dates(runs), *_machines(runs), *_versions(runs), *torch, *commits]
    return f"<ul>{''.join(lines)}</ul><p>{'<br>'.join(_e(fact) for fact in facts if fact)}</p>"


def _commit(run: Run) -> str:
    git = run.record.get("git")
    if not isinstance(git, dict) or not isinstance(git.get("commit"), str):
        return ""
    return f"commit {git['commit'][:12]}{', with uncommitted changes' if git.get('dirty') else ''}"


def _notices(comparison: Comparison) -> str:
    sweep, parts = comparison.sweep, []
    if sweep.failed:
        rows = [f"<li><code>{_e(job.name)}</code>: {_e(job.error)}</li>" for job in sweep.failed[:MAX_LISTED]]
        rows += [f"<li>and {len(sweep.failed) - MAX_LISTED} more</li>"] if len(sweep.failed) > MAX_LISTED else []
        parts += [f"<h2 class=bad>{len(sweep.failed)} failed</h2>", "<ul>", *rows, "</ul>"]
    warnings = [*sweep.warnings, *run_warnings(comparison)]
    parts += [f"<p class=bad>Warning: {_e(warning)}</p>" for warning in warnings[:MAX_LISTED]]
    if len(warnings) > MAX_LISTED:
        parts.append(f"<p class=bad>and {len(warnings) - MAX_LISTED} more warnings, in comparison.json</p>")
    if sweep.running:
        parts.append(f"<p>{_count(len(sweep.running), 'job')} still running: {_names(sweep.running)}</p>")
    if sweep.killed:
        parts.append(f"<p class=soft>{_count(len(sweep.killed), 'job')} stopped before the end: {_names(sweep.killed)}</p>")
    return "".join(parts)


def _names(jobs: list[Job]) -> str:
    more = f" and {len(jobs) - 10} more" if len(jobs) > 10 else ""
    return "; ".join(f"<code>{_e(job.name)}</code>" for job in jobs[:10]) + more


def _table(
    heads: list[str], rows: Iterable[str], label: str, foot: str = "", sortable: bool = True, kind: str = "", below: str = ""
) -> str:
    """below: rows that stay below the others, however these are sorted."""
    names = [f"<button>{_e(head)}</button>" if sortable else _e(head) for head in heads]
    head = "".join(f"<th scope=col>{name}</th>" for name in names)
    below = below and f"<tbody class=references>{below}</tbody>"
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>{below}{foot and f'<tfoot>{foot}</tfoot>'}"
    table = f"<table class='{kind}'>{body}</table>"
    return f"<div class=wide tabindex=0 role=region aria-label='{_e(label)}'>{table}</div>"


def _name(text: str) -> str:
    return f"<span class=name>{_e(text)}</span>"


def _label(text: str) -> str:
    return f"<span class='name short'>{_e(text)}</span>"


def _key(key: str) -> str:
    """A dotted name, which may be broken after its dots."""
    return f"<span class=name>{_e(key).replace('.', '.<wbr>')}</span>"


def _scores(comparison: Comparison, split: str) -> str:
    scores = comparison.scores_on(split)
    best = {score.key: comparison.best_rows(score.key, score.higher) for score in scores}
    several = len({runs[0].data for runs in comparison.groups.values()}) > 1
    rows = []
    for row in comparison.rows:
        name = row["configuration"]
        cells = [f"<td>{_name(name)}{reference_mark(comparison.groups[name][0])}</td><td>{row['n']}</td>"]
        for score in scores:
            mean = row.get(f"{score.key} mean")
            marked = " class=best title='best mean of the column'" if name in best[score.key] else ""
            cells.append(f"<td data-value={-1 if mean is None else mean}{marked}>{_e(cell(row, score))}</td>")
        if several:
            cells.append(f"<td>{_e(row['data/source'])}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = ["configuration", "n", *(_head(score) for score in scores)]
    heads += ["data"] if several else []
    images = num_images(next(iter(comparison.groups.values()))[0], split)
    foot = ""
    if images and not several:
        cells = []
        for score in scores:
            means = [row[f"{score.key} mean"] for row in comparison.table if f"{score.key} mean" in row]
            counted = score.num_images or images
            text = percent(sampling_error((max if score.higher else min)(means), counted)) if score.is_accuracy else ""
            cells.append(f"<td>{f'± {text}' if text else ''}</td>")
        what = _label(f"sampling error of {images:,} {split} images, at the column's best")
        foot = f"<tr><td>{what}</td><td></td>{''.join(cells)}</tr>"
    below = reference_rows(comparison, scores, several)
    reading = f"<p class=soft>{_e(_how_to_read(comparison, split, images))}</p>"
    return _table(heads, rows, f"Scores on {split}", foot, below=below) + reading + references_note(comparison)


def _head(score: Score) -> str:
    return f"{score.title}{', %' if score.is_accuracy else ''}{'' if score.higher else ' (lower is better)'}"


def _how_to_read(comparison: Comparison, split: str, images: int | None) -> str:
    sizes = {len(runs) for runs in comparison.groups.values()}
    text = f"n is the number of seeds. A click on a head sorts. {split.capitalize()} accuracy: mean"
    if any(comparison.best_rows(score.key, score.higher) for score in comparison.scores_on(split)):
        text = f"The best mean of each column is marked. {text}"
    if max(sizes) > 2:
        text += " ± half width of the 95 % confidence interval over seeds (Student's t, never narrower than one image of the split)"
    if 2 in sizes:
        text += "; of two seeds both values"
    absurd = any(" to " in cell(row, score) for row in comparison.table for score in comparison.scores_on(split))
    if absurd:
        text += "; lowest to highest where the seeds differ so much that an interval would leave 0 to 100 %"
    if images and max(sizes) > 1:
        text += (
            ". The interval over seeds does not hold the sampling error of the images themselves, which all runs share: "
            "a claim about a published number needs both"
        )
    return text + "."


def _costs(comparison: Comparison) -> str:
    keys = [key for key in COSTS if any(f"{key} mean" in row for row in comparison.table)]
    best = {key: comparison.best_rows(key, COSTS[key][1] is True) if COSTS[key][1] is not None else set() for key in keys}
    rows = []
    for row in comparison.rows:
        name = row["configuration"]
        cells = [f"<td>{_name(name)}</td><td>{row['n']}</td>"]
        for key in keys:
            mean = row.get(f"{key} mean")
            marked = " class=best title='best mean of the column'" if name in best[key] else ""
            cells.append(f"<td data-value={-1 if mean is None else mean}{marked}>{'-' if mean is None else _plain(mean)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = ["configuration", "n", *(COSTS[key][0] for key in keys)]
    note = "<p class=soft>Means over seeds. Seconds do not hold the import of libraries; other programs on the machine lengthen them.</p>"
    return _table(heads, rows, "Costs") + note


def _plain(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 or number == int(number) else f"{number:.1f}"


def _verdicts(comparison: Comparison) -> str:
    verdicts, num = comparison.verdicts, len(comparison.groups)
    if not verdicts:
        return "<p>One configuration alone, or none on the same data: nothing to compare.</p>"
    decided = [verdict for verdict in verdicts if verdict.kind != "too few seeds"]
    few = [verdict for verdict in verdicts if verdict.kind == "too few seeds"]
    parts = []
    if few:
        most = max(verdict.difference.n for verdict in few)
        which = "any two configurations" if not decided else f"{len(few)} of {_count(len(verdicts), 'comparison')}"
        parts.append(
            f"<p>Too few seeds to tell {which} apart: at most {most} in common, and at least {seeds_needed()} are needed "
            "for a paired permutation test to reach p = 0.05. The means above are what was measured, not a verdict.</p>"
        )
    best, score = comparison.ranking[0], verdicts[0].score
    first = [verdict for verdict in decided if verdict.score == score and best in (verdict.first, verdict.second)]
    others = [verdict for verdict in decided if verdict not in first]
    parts.append(_words(first))
    if others:
        summary = _count(len(others), "comparison") + (" of other scores or configurations" if first else "")
        parts.append(f"<details><summary>{summary}</summary>{_words(others)}</details>")
    pairs = len({(verdict.first, verdict.second) for verdict in verdicts})
    if num > 1 and pairs == num - 1 and num > 2:
        parts.append("<p class=soft>Each configuration is compared with the best alone.</p>")
    if len(decided) > 1:
        caution = (
            f"{len(decided)} comparisons. p is corrected for all pairs of configurations on one score, so that where nothing differs, "
            "at most one score in 20 says better anywhere; scores are not corrected for each other"
        )
        how = "Paired by seed; sign-flip permutation test (step-down maxT, Westfall and Young 1993), Student's t interval"
        parts.append(f"<p class=soft>{caution}. {how}.</p>")
    return "".join(parts)


def _words(verdicts: list[Verdict]) -> str:
    """As a list, where there are any."""
    rows = [f"<li>{_e(verdict.words)}</li>" for verdict in verdicts[:MAX_VERDICTS]]
    rows += [f"<li class=soft>{len(verdicts) - MAX_VERDICTS} more in comparison.json</li>"] if len(verdicts) > MAX_VERDICTS else []
    return f"<ul>{''.join(rows)}</ul>" if rows else ""


def _different(comparison: Comparison) -> str:
    if len(comparison.groups) < 2:
        return ""
    if not comparison.different:
        return "<h2>What differed</h2><p>No setting differs between the configurations.</p>"
    rows = []
    for key, values in comparison.different.items():
        cells = "".join(f"<td>{_e(value if len(value) <= 200 else f'{value[:199]}…')}</td>" for value in values)
        rows.append(f"<tr><td>{_key(key)}</td>{cells}</tr>")
    table = _table(["setting", *comparison.groups], rows, "What differed", sortable=False, kind="settings")
    note = "All settings that are not the same in every configuration; - where one has none."
    return f"<h2>What differed</h2>{table}<p class=soft>{note}</p>"


def _figure(title_x: str, title_y: str, height: int = 380) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#888", "family": "system-ui, sans-serif"},
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=height,
        xaxis={"title": {"text": _t(title_x)}, "gridcolor": "rgba(128,128,128,.25)", "zeroline": False, "automargin": True},
        yaxis={"title": {"text": _t(title_y)}, "gridcolor": "rgba(128,128,128,.25)", "zeroline": False, "automargin": True},
    )
    return figure


def _plot(figure: go.Figure, width: int = 1100) -> str:
    """With room below for as many rows as the legend needs, its columns being as wide as its longest name; long legends are left out,
    since a point tells its name where the mouse is.
    """
    names = [trace.name for trace in figure.data if trace.name]
    if len(names) > MAX_LEGEND:
        figure.update_layout(showlegend=False)
    elif len(names) > 1:
        rows = math.ceil(len(names) / max(1, width // (50 + 8 * max(map(len, names)))))
        legend = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
        figure.update_layout(height=figure.layout.height - 20 + 20 * rows, margin_b=60 + 20 * rows, legend=legend)
    label = html.escape(f"{figure.layout.yaxis.title.text} by {figure.layout.xaxis.title.text}", quote=True)
    plot = figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True, "displayModeBar": False})
    return f'<div role=img aria-label="{label}">{plot}</div>'


def _style(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)]}


def _drawn(groups: dict[str, list[Run]], ranking: list[str]) -> tuple[dict[str, list[Run]], str]:
    """As many configurations as a plot can hold, the best of them, in their order; and a note on the rest."""
    if len(groups) <= MAX_CURVES:
        return groups, ""
    kept = set((ranking or list(groups))[:MAX_CURVES])
    return {name: runs for name, runs in groups.items() if name in kept}, f"The {MAX_CURVES} best of {len(groups)} configurations. "


def _of(score: Score) -> str:
    return f"{score.split} {score.title}" + (", %" if score.is_accuracy else "")


def _scaled(score: Score, value: float) -> float:
    return 100 * value if score.is_accuracy else value


def _against_time(comparison: Comparison, score: Score) -> str:
    figure = _figure("wall time, s", _of(score))
    groups, note = _drawn(comparison.groups, comparison.ranking)
    for i, (name, runs) in enumerate(groups.items()):
        having = [run for run in runs if score.key in run.summary and run.summary.get("seconds") is not None]
        x, y = [run.summary["seconds"] for run in having], [_scaled(score, run.summary[score.key]) for run in having]
        text = [f"seed {run.seed}" for run in having]
        marker = _style(i) | {"size": 10, "symbol": i // len(COLOURS)}
        figure.add_scatter(x=x, y=y, name=_t(name), text=text, mode="markers", marker=marker)
    note += reference_lines(figure, comparison, score)
    note += "A point a run. The axes do not begin at 0."
    return f"<h2>Accuracy against time: {_e(score.title)}</h2>{_plot(figure)}<p class=soft>{note}</p>"


def _few_labels(comparison: Comparison) -> str:
    groups, note = _drawn(comparison.groups, comparison.ranking)
    own = labels.panels(groups, comparison.split)
    if not own:
        return ""
    found = {way: lines for way, lines in labels.panels(groups | as_lines(comparison), comparison.split).items() if way in own}
    parts = []
    for way, lines in found.items():
        figure = _figure("labelled images", f"{comparison.split} accuracy, %", 320)
        labels.draw(figure, {_t(name): points for name, points in lines.items()}, COLOURS)
        dash(figure)
        parts.append(f"<div><h3>{_e(way)}</h3>{_plot(figure, 340 if len(found) > 1 else 1100)}</div>")
    wide = "<div>" if len(parts) == 1 else "<div class=panels>"
    note += (
        "The same labelled images for all. 95 % intervals over seeds, or over draws where there is one seed. The axes do not begin at 0."
    )
    return f"<h2>How few labels suffice</h2>{wide}{''.join(parts)}</div><p class=soft>{note}</p>"


def _losses(groups: dict[str, list[Run]]) -> str:
    """A panel a method, because the losses of two methods have no common unit; a line a configuration, of its first seed."""
    methods: dict[str, dict[str, Run]] = {}
    for name, runs in list(groups.items())[:MAX_CURVES]:
        methods.setdefault(runs[0].method, {})[name] = runs[0]
    panels = []
    for method, lines in methods.items():
        figure = _figure("epoch", "loss", 300)
        for i, (name, run) in enumerate(lines.items()):
            rows = [row for row in run.history if is_finite(row.get("pretrain/loss")) and is_finite(row.get("epoch"))]
            rows = rows[:: math.ceil(len(rows) / MAX_POINTS) or 1]
            x, y = [row["epoch"] for row in rows], [row["pretrain/loss"] for row in rows]
            line = _style(i) | {"dash": DASHES[i // len(COLOURS) % len(DASHES)]}
            figure.add_scatter(x=x, y=y, name=_t(name), mode="lines", line=line, showlegend=len(lines) > 1)
        if any(trace.x for trace in figure.data):
            panels.append(f"<div><h3>{_e(method)}</h3>{_plot(figure, 340 if len(methods) > 1 else 1100)}</div>")
    if not panels:
        return "<h2>Pretraining loss</h2><p class=soft>No run has logged a loss.</p>"
    wide = "<div>" if len(panels) == 1 else "<div class=panels>"
    first = f"the first {MAX_CURVES} of {len(groups)} configurations, " if len(groups) > MAX_CURVES else ""
    note = f"Each method has a loss and an axis of its own; {first}the first seed of each. The axes do not begin at 0."
    return f"<h2>Pretraining loss</h2>{wide}{''.join(panels)}</div><p class=soft>{note}</p>"


def _health(groups: dict[str, list[Run]]) -> str:
    """What pretraining made of the encoder that was evaluated: the verdicts of all seeds, and means of the measures."""
    having = {name: [run for run in runs if run.summary.get("health/verdict")] for name, runs in groups.items()}
    having = {name: runs for name, runs in having.items() if runs}
    if not having:
        return ""
    summaries = [run.summary for runs in having.values() for run in runs]
    titles: dict[str, str] = {}
    for summary in summaries:
        titles |= summary.get("health/measures") or {}
    titles = {f"health/{name}": title for name, title in titles.items() if any(f"health/{name}" in summary for summary in summaries)}
    rows = []
    for name, runs in having.items():
        seeds: dict[str, list[str]] = {}
        for run in runs:
            seeds.setdefault(run.summary["health/verdict"], []).append(str(run.seed))
        words = [told if len(seeds) == 1 else f"{told} (seed {', '.join(those[:5])})" for told, those in seeds.items()]
        epochs = sorted({run.summary["pretrain/kept_epoch"] for run in runs if is_finite(run.summary.get("pretrain/kept_epoch"))})
        cells = [f"<td>{_name(name)}</td><td>{len(runs)}</td><td class=words>{_e('; '.join(words))}</td>"]
        cells.append(f"<td>{' to '.join(f'{epoch:g}' for epoch in dict.fromkeys([*epochs[:1], *epochs[-1:]])) or '-'}</td>")
        for key in titles:
            values = [run.summary[key] for run in runs if key in run.summary]
            cells.append(f"<td>{f'{sum(values) / len(values):.4g}' if values else '-'}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    note = (
        "Measured on embeddings of held-out images, after the epoch whose encoder was evaluated; means over seeds. "
        "The k-NN looks at labels of val, which no training step sees."
    )
    table = _table(["configuration", "n", "verdict", "epoch", *titles.values()], rows, "Health")
    return f"<h2>Did pretraining work?</h2>{table}<p class=soft>{note}</p>"


def _per_class(run: Run, split: str) -> list[float] | None:
    return run.summary.get(f"{split}/per_class_accuracy") or None


def _classes(comparison: Comparison) -> str:
    """Of up to 20 classes; of more, those that are worst on average."""
    first = comparison.groups[comparison.ranking[0]][0] if comparison.ranking else comparison.sweep.runs[0]
    split = comparison.split if _per_class(first, comparison.split) else "val" if comparison.split == "test" else "test"
    num = len(_per_class(first, split) or [])
    means: dict[str, list[float]] = {}  # in percent; a class without an image is nan
    for name in [name for name in comparison.ranking if len(comparison.groups) > MAX_BARS][:MAX_BARS] or comparison.groups:
        found = [values for run in comparison.groups[name] if (values := _per_class(run, split)) and len(values) == num]
        if found and comparison.groups[name][0].data == first.data:
            means[name] = [100 * sum(column) / len(column) for column in zip(*found, strict=True)]
    if not means:
        return ""
    classes = first.summary.get("data/classes") or []
    classes = classes if len(classes) == num else [str(i) for i in range(num)]
    average = [sum(column) / len(column) for column in zip(*means.values(), strict=True)]
    known = [i for i in range(num) if not math.isnan(average[i])]
    if not known:
        return ""
    shown = known if len(known) <= MAX_CLASSES else sorted(sorted(known, key=lambda i: average[i])[:MAX_CLASSES])
    title = next((s.title for s in comparison.scores if s.key == f"{split}/{first.summary.get('primary')}_accuracy"), "accuracy")
    figure = _figure("class", f"{split} accuracy, {title}, %")
    for i, (name, values) in enumerate((name, means[name]) for name in comparison.groups if name in means):
        hover = [f"{_t(classes[k], 200)}: {values[k]:.2f} %" for k in shown]
        y = [None if math.isnan(values[k]) else values[k] for k in shown]
        figure.add_bar(x=list(range(len(shown))), y=y, name=_t(name), hovertext=hover, hoverinfo="text+name", marker=_style(i))
    low = min(value for values in means.values() for k in shown if not math.isnan(value := values[k]))
    begin = max(0.0, math.floor(low - (100 - low) * 0.3 - 0.5))
    figure.update_yaxes(range=[begin, 100])
    long = max(len(classes[k]) for k in shown) > 4
    figure.update_xaxes(tickvals=list(range(len(shown))), ticktext=[_t(classes[k], 20) for k in shown], tickangle=-40 if long else 0)
    note = f"The axis begins at {begin:.0f} %, not at 0: compare the ends of the bars, not their lengths." if begin else ""
    if len(shown) < num:
        note += f" The {len(shown)} classes with the lowest accuracy, of {num:,}."
    if len(means) < len(comparison.groups):
        note += f" {len(means)} of {len(comparison.groups)} configurations: the best on the same data."
    return f"<h2>Accuracy of each class</h2>{_plot(figure)}<p class=soft>{note}</p>"


def _effects(comparison: Comparison) -> str:
    """What each swept setting does, where more than the method was swept: a line for numbers, a heat map for names and for a pair."""
    keys, score, runs = comparison.swept, comparison.primary, comparison.sweep.runs
    if keys in ([], ["method"]) or score is None or len({run.data for run in runs}) > 1:
        return ""
    runs = [run for run in runs if score.key in run.summary]
    if len(keys) == 2:
        x, y = (sorted({value_of(run, key) for run in runs}, key=by_size) for key in (keys[1], keys[0]))
        if len(x) * len(y) <= min(MAX_CELLS, 4 * len(runs)):
            return _pair(keys[0], keys[1], x, y, runs, score)
    return "".join(_effect(key, keys, runs, comparison, score) for key in keys)


def _pair(first: str, second: str, x: list[str], y: list[str], runs: list[Run], score: Score) -> str:
    figure = _figure(second, first)
    values: dict[tuple[str, str], list[float]] = {(a, b): [] for a in y for b in x}
    for run in runs:
        values[value_of(run, first), value_of(run, second)].append(run.summary[score.key])
    z = [[_scaled(score, sum(found) / len(found)) if (found := values[a, b]) else None for b in x] for a in y]
    bar = {"title": "%" if score.is_accuracy else ""}
    figure.add_heatmap(x=_labels(x), y=_labels(y), z=z, colorscale="Viridis", colorbar=bar, texttemplate="%{z:.2f}", hoverongaps=False)
    figure.update_xaxes(type="category").update_yaxes(type="category")
    sizes = sorted({len(found) for found in values.values()})
    n = f"Mean of {_count(sizes[0], 'seed')} a cell." if len(sizes) == 1 else f"Unbalanced: {sizes[0]} to {sizes[-1]} seeds a cell."
    return f"<h2>Effect of {_e(first)} and {_e(second)} on {_e(_of(score))}</h2>{_plot(figure)}<p class=soft>{n}</p>"


def _labels(values: list[str]) -> list[str]:
    """Short enough for an axis, and still all different."""
    short = [_t(value, 30) for value in values]
    return short if len(set(short)) == len(values) else [_t(value, 10_000) for value in values]


def _is_balanced(key: str, keys: list[str], having: dict[str, list[Run]]) -> bool:
    """Whether every value was run with the same other settings and seeds."""
    others = [other for other in keys if other != key]
    designs = [sorted(([value_of(run, other) for other in others], run.seed) for run in runs) for runs in having.values()]
    return all(design == designs[0] for design in designs)


def _effect(key: str, keys: list[str], runs: list[Run], comparison: Comparison, primary: Score) -> str:
    x = sorted({value_of(run, key) for run in runs}, key=by_size)
    if len(x) < 2:
        return ""
    having: dict[str, list[Run]] = {value: [] for value in x}
    for run in runs:
        having[value_of(run, key)].append(run)
    numeric, balanced, others = all(is_number(value) for value in x), _is_balanced(key, keys, having), len(keys) > 1
    n = len(having[x[0]])
    if not balanced:
        figure = _figure(key, _of(primary))
        values = [value_of(run, key) for run in runs]
        points = [_scaled(primary, run.summary[primary.key]) for run in runs]
        figure.add_scatter(x=[float(v) if numeric else _t(v, 30) for v in values], y=points, mode="markers", marker=_style(0))
        sizes = sorted({len(found) for found in having.values()})
        span = _count(sizes[0], "run") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} runs"
        note = (
            f"The design is unbalanced ({span} a value, not with the same other settings and seeds): "
            "a point a run, no mean and no interval."
        )
    elif numeric:
        figure = _figure(key, _of(primary))
        found = [estimate([run.summary[primary.key] for run in having[value]]) for value in x]
        half_widths = [_scaled(primary, one.half_width) for one in found]
        error = {"type": "data", "array": half_widths} if n > 2 else None
        means = [_scaled(primary, one.mean) for one in found]
        figure.add_scatter(x=[float(v) for v in x], y=means, mode="lines+markers", error_y=error, line=_style(0))
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
    return f"<h2>Effect of {_e(key)}</h2>{_plot(figure)}<p class=soft>{note}</p>"


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
    figure = _figure("", key, max(380, 120 + 22 * len(having)))
    bar = {"title": {"text": "points<br>to the best"}}
    x, text = [_t(score.title) for score in scores], "%{text:.2f} %"
    figure.add_heatmap(x=x, y=_labels(list(having)), z=behind, text=cells, texttemplate=text, colorscale="Viridis", colorbar=bar)
    return figure.update_yaxes(type="category", autorange="reversed")


def _errors(comparison: Comparison) -> str:
    """The pairs of classes whose errors differ most between configurations."""
    head = "<h2>Which classes are taken for which</h2>"
    found = errors_of(comparison)
    if isinstance(found, str):
        return f"{head}<p class=soft>No table: {_e(found)}.</p>{_confusions(comparison)}" if comparison.scores else ""
    rows = []
    for true, predicted in found.differing():
        counts = [found.counts(name, true, predicted) for name in found.predictions]
        means = [sum(each) / len(each) for each in counts]
        cells = [
            _error_cell(each, mean, len(means) > 1 and mean == min(means) < max(means)) for each, mean in zip(counts, means, strict=True)
        ]
        pair = f"{found.classes[true]} taken for {found.classes[predicted]}"
        rows.append(f"<tr><td>{_name(pair)}</td>{''.join(cells)}</tr>")
    totals = "".join(f"<td>{_e(mean_count(found.totals(name)))}</td>" for name in found.predictions)
    foot = f"<tr><td>{_label('all errors')}</td>{totals}</tr>"
    title = next((s.title for s in comparison.scores if s.key == f"{found.of.split}/{found.of.score}_accuracy"), found.of.score)
    note = (
        f"Errors among {found.of.num:,} {found.of.split} images by the {title}: mean over seeds, from 3 on "
        "± half width of its 95 % interval. "
        f"{'The pairs that differ most between configurations' if len(found.predictions) > 1 else 'The most frequent pairs'} stand first; "
        f"the fewest errors of a pair are marked. {found.missing}"
    )
    return f"{head}{_table(['classes', *found.predictions], rows, 'Errors by pair of classes', foot)}<p class=soft>{_e(note)}</p>"


def _similarity(comparison: Comparison) -> str:
    """Linear CKA between the encoders, and between their layers, as heat maps."""
    head = "<h2>How alike the encoders are</h2>"
    found = similarity(comparison)
    if isinstance(found, str):
        return f"{head}<p class=soft>Left out: {_e(found)}.</p>"
    what = (
        f"Linear CKA (Kornblith et al. 2019) of the embeddings of {found.num:,} images: 1 where one is the other up to rotation and scale. "
    )
    parts = [head, f"<p class=soft>{_e(what)}{_e('Left out: ' + '; '.join(found.left_out) + '.' if found.left_out else '')}</p>"]
    if found.encoders is None:
        parts.append("<p class=soft>One encoder alone: no other to compare it with.</p>")
    else:
        several = [(name, values) for name in dict.fromkeys(name for name, _ in found.runs) if (values := found.within(name))]
        said = [f"between seeds of {name} {_span(values)}" for name, values in several]
        said += [f"between configurations {_span(values)}" for values in [found.between()] if values]
        parts += [_alike([f"{name} seed {seed}" for name, seed in found.runs], found.encoders), f"<p>CKA {_e('; '.join(said))}.</p>"]
    if found.between_layers is not None:
        names = [f"{layer}, {name}" for name, layer in found.layers]
        note = "Layers of the first seed of each configuration; a layer's map is averaged over positions. "
        if any(layer == "projection" for _, layer in found.layers):
            note += "The projection is the output of the head between the embedding and the loss."
        parts += ["<h3>Between layers</h3>", _alike(names, found.between_layers), f"<p class=soft>{note}</p>"]
    return "".join(parts)


def _span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if max(values) - min(values) >= 0.005 else f"{values[0]:.2f}"


def _alike(names: list[str], values: np.ndarray) -> str:
    size = len(names)
    figure = _figure("", "", max(300, 160 + 26 * size))
    z = [[None if math.isnan(value) else round(value, 3) for value in row] for row in values.tolist()]
    short, number = _labels(names), {"texttemplate": "%{z:.2f}"} if size <= 20 else {}
    figure.add_heatmap(x=short, y=short, z=z, zmin=0, zmax=1, colorscale="Viridis", colorbar={"title": "CKA"}, hoverongaps=False, **number)
    figure.update_xaxes(type="category", tickangle=-40).update_yaxes(type="category", autorange="reversed")
    return _plot(figure)


def _confusions(comparison: Comparison) -> str:
    rows, shown = [], set((comparison.ranking or list(comparison.groups))[:MAX_BARS])
    for name, runs in ((name, runs) for name, runs in comparison.groups.items() if name in shown):
        told = [(run.seed, pair) for run in runs[:5] if (pair := run.summary.get(f"{comparison.split}/most_confused"))]
        if told:
            rows.append(f"<li>{_e(name)}: {_e('; '.join(f'seed {seed}: {pair}' for seed, pair in told))}</li>")
    if not rows:
        return ""
    note = f"The {len(shown)} best of {len(comparison.groups)} configurations." if len(shown) < len(comparison.groups) else ""
    return f"<p>The most confused pair of each run:</p><ul>{''.join(rows)}</ul><p class=soft>{note}</p>"


def _error_cell(counts: list[int], mean: float, marked: bool) -> str:
    return f"<td data-value={mean:.6g}{' class=best' if marked else ''}>{_e(mean_count(counts))}</td>"


def _robustness(comparison: Comparison) -> str:
    """A panel a corruption, a line a configuration, where runs were evaluated on corrupted images."""
    groups, note = _drawn(comparison.groups, comparison.ranking)
    found = corrupted(groups)
    if found is None:
        return ""
    panels = []
    for name, panel in found.panels.items():
        figure = _figure(panel.strength, f"{found.split} accuracy, %", 300)
        for i, (configuration, values) in enumerate(panel.lines.items()):
            line = _style(list(groups).index(configuration)) | {"dash": DASHES[i // len(COLOURS) % len(DASHES)]}
            figure.add_scatter(x=panel.ticks, y=values, name=_t(configuration), mode="lines+markers", line=line)
        if panel.untrained:
            untrained = {"color": "#888", "dash": "dash"}
            figure.add_scatter(x=panel.ticks, y=panel.untrained, name="untrained", mode="lines", line=untrained)
        figure.update_xaxes(type="category").update_yaxes(rangemode="tozero")
        panels.append(f"<div><h3>{_e(name.replace('_', ' '))}</h3>{_plot(figure, 340)}</div>")
    note = (
        f"{note}Means over seeds, by the {_e(found.title)}; the left end of a line is the accuracy on the same images as they are. "
        "The dashed line is the untrained encoder."
    )
    if found.left_out:
        note += f" Without {_e(', '.join(found.left_out[:10]))}: not evaluated on these corruptions, on the same data."
    return f"<h2>Corrupted images</h2><div class=panels>{''.join(panels)}</div><p class=soft>{note}</p>"


def _picture(run: Run, name: str) -> Path | None:
    """A figure of a run; None where there is none, or where a link leads out of the run's folder."""
    path = run.folder / "figures" / f"{name}.png"
    try:
        inside = path.resolve(strict=True).is_relative_to(run.folder.resolve())
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return None
    return path if inside and path.is_file() else None


def _pictures(comparison: Comparison) -> str:
    """One a configuration, embedded, the best first; the other seeds', and those of further configurations, as links."""
    left, parts = MAX_PICTURE_BYTES, []
    order = [*comparison.ranking, *(name for name in comparison.groups if name not in comparison.ranking)]
    embedded = set(order[:MAX_PICTURES])
    for name, title in PICTURES.items():
        figures, others = [], []
        for configuration in order:
            paths = [(run, path) for run in comparison.groups[configuration] if (path := _picture(run, name))]
            if not paths:
                continue
            links = " ".join(f"<a href='{_link(run)}figures/{name}.png'>seed {run.seed}</a>" for run, _ in paths[:20])
            path = paths[0][1]
            if configuration in embedded and path.stat().st_size <= left:
                try:
                    data = base64.b64encode(path.read_bytes()).decode()
                except OSError:
                    continue
                left -= path.stat().st_size
                picture = f"<img alt='{_e(title)}, {_e(configuration)}' src='data:image/png;base64,{data}'>"
                figures.append(f"<figure>{picture}<figcaption>{_e(configuration)} {links}</figcaption></figure>")
            else:
                others.append(f"<li>{_e(configuration)}: {links}</li>")
        more = f"<details><summary>{len(others)} more</summary><ul>{''.join(others)}</ul></details>" if others else ""
        parts.append(f"<h2>{title}</h2><div class='pictures {name}'>{''.join(figures)}</div>{more}" if figures or others else "")
    return "".join(parts)


def _link(run: Run) -> str:
    """To a run's folder, from the page: whatever characters its name has."""
    return "./" if run.place == "." else f"{html.escape(quote(os.fsencode(run.place)))}/"


def _links(groups: dict[str, list[Run]]) -> str:
    rows = []
    for configuration, runs in groups.items():
        links = ", ".join(f"<a href='{_link(run)}'>seed {run.seed}</a>" for run in runs)
        rows.append(f"<li>{_e(configuration)}: {links}</li>")
    return f"<ul>{''.join(rows)}</ul>"
