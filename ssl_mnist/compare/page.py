"""The comparison as one self-contained HTML page: opens from disk, needs no network. Interactive plots are plotly's."""

import base64
import html
import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ssl_mnist.compare.report import Comparison
from ssl_mnist.compare.runs import COSTS, Run, by_size, is_number, swept
from ssl_mnist.compare.statistics import percent, seeds_needed

COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D31", "#999999"]
DASHES = ["solid", "dash", "dot", "dashdot"]  # and markers' shapes, from the ninth configuration on
COST_TITLES = dict(zip(COSTS, ("pretraining, s", "in all, s", "images/s", "parameters"), strict=True))
MAX_PICTURES, MAX_CURVES, MAX_VERDICTS, MAX_CLASSES = 12, 60, 60, 20  # so that a page of 500 runs stays small; the rest is linked

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #666; --line: #ddd; --paper: #fff; --bad: #b00020; --link: #1f6fb2; }
:root { --best: #e4f2e7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #aaa; --line: #444; --paper: #161616; --bad: #ff8a80; --link: #6cb4ee; --best: #1d3a26; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 80rem; margin: auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }
th { vertical-align: bottom; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: inherit; cursor: pointer; }
th button:after { content: " ↕"; color: var(--soft); } th[aria-sort=ascending] button:after { content: " ↑"; }
th[aria-sort=descending] button:after { content: " ↓"; }
td.best { background: var(--best); font-weight: 600; }
.xtick text, .ytick text, .xtitle, .ytitle, .legendtext, .cbaxis text, .cbtitle text { fill: var(--soft) !important; }
code { overflow-wrap: anywhere; } .soft { color: var(--soft); } .bad { color: var(--bad); } a { color: var(--link); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
.pictures img { width: 100%; background: #fff; border-radius: .4rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; } .plots > div { min-width: 0; }
figure { margin: 0; } li { margin: .3rem 0; }
@media print {
  body { max-width: none; } h2 { break-after: avoid; } figure, tr, li, .plotly-graph-div { break-inside: avoid; }
  th button:after { content: ""; }
  .wide { overflow: visible; } table { font-size: 8pt; } th, td { padding: .2rem .25rem; white-space: normal; }
}
"""
# Sorting by a column's head, which is a button; everything else that moves on the page is plotly's.
SORT = """
for (const head of document.querySelectorAll("th button")) head.onclick = () => {
  const th = head.parentNode, body = th.closest("table").tBodies[0], i = th.cellIndex, up = th.ariaSort !== "ascending";
  for (const other of th.parentNode.cells) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = row => row.cells[i].dataset.value ?? row.cells[i].textContent;
  const order = (a, b) => { const x = value(a), y = value(b); return isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y; };
  body.append(...[...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)));
};
"""


def page(comparison: Comparison) -> str:
    sweep, groups = comparison.sweep, comparison.groups
    parts = [_notices(comparison)]
    if groups:
        parts += ["<h2>Scores</h2>", _scores(comparison), "<h2>Costs</h2>", _costs(comparison), _different(comparison)]
        parts += ["<h2>Which is better?</h2>", _verdicts(comparison), "<h2>Accuracy against time</h2>", _plot(_against_time(comparison))]
        parts += ["<h2>Pretraining loss</h2>", _losses(groups), _effects(comparison)]
        parts += ["<h2>Accuracy of each class</h2>", _classes(comparison), _confusions(comparison)]
        for figure, title in {"tsne": "Latent space, t-SNE", "pca": "Latent space, PCA"}.items():
            parts += [f"<h2>{title}</h2>", _pictures(comparison, figure)]
        parts += ["<h2>Runs</h2>", _links(groups), _made(comparison)]
    title = _escape(comparison.answer)
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'><title>{title}</title>"
    name = _escape(sweep.folder.resolve().name)
    counts = f"{name}: {_count(len(sweep.runs), 'run')}, {_count(len(groups), 'configuration')}"
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><h1>{title}</h1><p class=soft>{counts}</p>{''.join(parts)}<script>{SORT}</script></body></html>"
    )


def _escape(text: Any) -> str:
    return html.escape(str(text), quote=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _notices(comparison: Comparison) -> str:
    """What went wrong, and what a reader has to know before the numbers."""
    sweep = comparison.sweep
    parts = []
    if sweep.failures:
        rows = (f"<li><code>{_escape(' '.join(f.overrides))}</code>: {_escape(f.error)}</li>" for f in sweep.failures)
        parts += [f"<h2 class=bad>{len(sweep.failures)} failed</h2><ul>", *rows, "</ul>"]
    if sweep.unfinished:
        rows = (f"<li><code>{_escape(' '.join(u.overrides) or u.name)}</code>: {_escape(u.error)}</li>" for u in sweep.unfinished)
        parts += [f"<p>{len(sweep.unfinished)} not finished; the same command goes on with them:</p><ul>", *rows, "</ul>"]
    parts += [f"<p class=bad>Warning: {_escape(warning)}</p>" for warning in sweep.warnings]
    warned = {warning: None for runs in comparison.groups.values() for run in runs for warning in run.summary.get("warnings", [])}
    parts += [f"<p>Note: {_escape(warning)}</p>" for warning in list(warned)[:10]]
    if comparison.groups and comparison.split == "val":
        read = any(key.startswith("test/") for run in sweep.runs for key in run.summary["scores"])
        why = "more than method and seed was swept" if read else "test was not read"
        again = "" if read else " To read it for the run you choose: <code>python -m ssl_mnist.evaluate &lt;run&gt;</code>."
        parts.append(f"<p>Decided by val, since {why}.{again}</p>")
    return "".join(parts)


def _scores(comparison: Comparison) -> str:
    """Accuracies on the split that decides; those on the other split in a table of their own."""
    splits = [comparison.split, *(split for split in ("test", "val") if split != comparison.split)]
    parts = []
    for split in splits:
        keys = [f"{split}/{name}" for name in comparison.titles if any(f"{split}/{name} mean" in row for row in comparison.table)]
        if keys:
            titles = [comparison.titles[key.partition("/")[2]] for key in keys]
            table = _table(comparison, keys, titles, f"Accuracy on {split}, %")
            parts.append(table if split == splits[0] else f"<details><summary>On {split}</summary>{table}</details>")
    note = (
        "Accuracy in %: mean ± half width of the 95 % interval (Student's t) over n seeds, never narrower than one image; in brackets the "
        "sampling error of the test images themselves. The highest of a column is marked. A click on a head sorts."
    )
    return f"{''.join(parts)}<p class=soft>{note}</p>"


def _table(comparison: Comparison, keys: list[str], titles: list[str], label: str) -> str:
    best = {key: max(row.get(f"{key} mean", -1.0) for row in comparison.table) for key in keys}
    body = []
    for row in comparison.table:
        cells = [f"<td>{_escape(row['configuration'])}</td><td>{row['n']}</td>"]
        for key in keys:
            mean = row.get(f"{key} mean")
            if mean is None:
                cells.append("<td data-value=-1>-</td>")
                continue
            mark = " class=best" if len(comparison.table) > 1 and mean == best[key] else ""
            text = f"{percent(mean, _sensible(row, key))} <span class=soft>[{100 * row[f'{key} sampling']:.2f}]</span>"
            cells.append(f"<td{mark} data-value={mean}>{text}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return _html_table(["configuration", "n", *titles], body, label)


def _sensible(row: dict[str, Any], key: str) -> float | None:
    """The half width of an interval over three seeds or more; two say next to nothing of it."""
    return row[f"{key} ci95"] if row["n"] > 2 else None


def _html_table(heads: list[str], body: list[str], label: str, sortable: bool = True) -> str:
    cells = (f"<th scope=col>{f'<button>{_escape(name)}</button>' if sortable else _escape(name)}</th>" for name in heads)
    rows = f"<table><thead><tr>{''.join(cells)}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f"<div class=wide tabindex=0 role=region aria-label='{_escape(label)}'>{rows}</div>"


def _costs(comparison: Comparison) -> str:
    body = []
    for row in comparison.table:
        cells = (f"<td data-value={row[f'{key} mean']}>{row[f'{key} mean']:,.0f}</td>" for key in COSTS)
        body.append(
            f"<tr><td>{_escape(row['configuration'])}</td><td>{row['n']}</td>{''.join(cells)}<td>{_escape(row['data/source'])}</td></tr>"
        )
    return _html_table(["configuration", "n", *COST_TITLES.values(), "data"], body, "Costs, means over seeds")


def _different(comparison: Comparison) -> str:
    """A row for each setting that differs between configurations."""
    if not comparison.different:
        return ""
    names = list(comparison.groups)[:MAX_PICTURES]
    body = [
        f"<tr><td><code>{_escape(key)}</code></td>{''.join(f'<td>{_escape(value)}</td>' for value in values[:MAX_PICTURES])}</tr>"
        for key, values in comparison.different.items()
    ]
    more = (
        f"<p class=soft>The first {MAX_PICTURES} of {len(comparison.groups)} configurations.</p>"
        if len(comparison.groups) > len(names)
        else ""
    )
    return f"<h2>What differed</h2>{_html_table(['setting', *names], body, 'Settings that differ', sortable=False)}{more}"


def _verdicts(comparison: Comparison) -> str:
    told = [verdict for verdict in comparison.verdicts if not math.isnan(verdict.p)]
    if not comparison.verdicts:
        return "<p>One configuration alone, or none on the same data: nothing to compare.</p>"
    untold = [verdict for verdict in comparison.verdicts if math.isnan(verdict.p)]
    parts = []
    if untold:
        most = max(verdict.difference.n for verdict in untold)
        of = "All" if not told else f"{len(untold)} of {len(comparison.verdicts)}"
        parts.append(
            f"<p>Too few seeds to tell: {of} comparisons have at most {most} seeds in common, and a paired permutation test needs "
            f"{seeds_needed()} to reach p = 0.05. The table says who is ahead, not who is better.</p>"
        )
    shown = [f"<li>{_escape(verdict.words)}</li>" for verdict in told[:MAX_VERDICTS]]
    parts.append(f"<ul>{''.join(shown)}</ul>" if shown else "")
    if len(told) > len(shown):
        parts.append(f"<p class=soft>{len(told) - len(shown)} more in comparison.json.</p>")
    if len(told) > 1:
        parts.append(
            f"<p class=soft>{len(told)} comparisons, each by its own test: where there is no difference, about one in 20 says better.</p>"
        )
    return "".join(parts)


def _figure(title_x: str, title_y: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#888", "family": "system-ui, sans-serif"},
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=380,
        xaxis={"title": {"text": title_x}, "gridcolor": "rgba(128,128,128,.25)", "zeroline": False},
        yaxis={"title": {"text": title_y}, "gridcolor": "rgba(128,128,128,.25)", "zeroline": False},
    )
    return figure


def _plot(figure: go.Figure, width: int = 900) -> str:
    """With room below for as many rows as the legend needs, its columns being as wide as its longest name."""
    names = [trace.name for trace in figure.data if trace.name]
    if len(names) > 1:
        rows = math.ceil(len(names) / max(1, width // (50 + 8 * max(map(len, names)))))
        legend = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
        figure.update_layout(height=360 + 20 * rows, margin_b=60 + 20 * rows, legend=legend)
    label = _escape(f"{figure.layout.yaxis.title.text} by {figure.layout.xaxis.title.text}")
    plot = figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True, "displayModeBar": False})
    return f'<div role=img aria-label="{label}">{plot}</div>'


def _style(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)]}


def _losses(groups: dict[str, list[Run]]) -> str:
    """Each configuration's first seed; losses of different methods are not comparable, so each method has a plot of its own."""
    by_method: dict[str, go.Figure] = {}
    for i, (name, runs) in enumerate(list(groups.items())[:MAX_CURVES]):
        method = str(runs[0].summary.get("choices/method"))
        figure = by_method.setdefault(method, _figure("epoch", f"{method} loss"))
        rows = [row for row in runs[0].history if isinstance(row.get("pretrain/loss"), int | float)]
        x, y = [row["epoch"] for row in rows], [row["pretrain/loss"] for row in rows]
        figure.add_scatter(x=x, y=y, name=name, mode="lines", line=_style(i) | {"dash": DASHES[i // len(COLOURS) % len(DASHES)]})
    drawn = [_plot(figure.update_layout(height=280), 400) for figure in by_method.values() if any(len(trace.x) for trace in figure.data)]
    return f"<div class=plots>{''.join(drawn)}</div>" if drawn else "<p>No run was pretrained.</p>"


def _against_time(comparison: Comparison) -> go.Figure:
    key = f"{comparison.split}/{comparison.primary}"
    figure = _figure("time in all, s", f"{comparison.split} {comparison.titles[comparison.primary]}, %")
    for i, (name, runs) in enumerate(list(comparison.groups.items())[:MAX_CURVES]):
        having = [run for run in runs if key in run.summary]
        x, y = [run.summary["seconds"] for run in having], [100 * run.summary[key] for run in having]
        text = [f"seed {run.seed}" for run in having]
        figure.add_scatter(x=x, y=y, name=name, text=text, mode="markers", marker=_style(i) | {"size": 10, "symbol": i // len(COLOURS)})
    return figure.update_xaxes(rangemode="tozero")


def _classes(comparison: Comparison) -> str:
    """Means over seeds; of many classes those with the lowest accuracy."""
    runs = [run for group in comparison.groups.values() for run in group]
    split = "test" if all("test/per_class_accuracy" in run.summary for run in runs) else "val"
    key = f"{split}/per_class_accuracy"
    means = {
        name: [100 * sum(column) / len(column) for column in zip(*(run.summary[key] for run in group), strict=True)]
        for name, group in list(comparison.groups.items())[:MAX_CURVES]
        if all(key in run.summary for run in group)
    }
    if not means or len({len(values) for values in means.values()}) != 1:
        return "<p>Not shown: the runs have different classes.</p>"
    num = len(next(iter(means.values())))
    names = [str(name) for name in runs[0].summary.get("data/classes") or range(num)]
    order = list(range(num))
    if num > MAX_CLASSES:
        order = sorted(order, key=lambda k: min(values[k] for values in means.values()))[:MAX_CLASSES]
    low = min(values[k] for values in means.values() for k in order)
    bottom = 0.0 if low < 50 else low - (100 - low) * 0.3 - 0.5
    figure = _figure("class", f"{split} accuracy, %" + (f" (axis begins at {bottom:.1f} %)" if bottom else ""))
    for i, (name, values) in enumerate(means.items()):
        figure.add_bar(x=[names[k] for k in order], y=[values[k] for k in order], name=name, marker=_style(i))
    figure.update_yaxes(range=[bottom, 100])
    figure.update_xaxes(type="category")
    note = f"<p class=soft>The {MAX_CLASSES} classes with the lowest accuracy, of {num:,}.</p>" if num > MAX_CLASSES else ""
    return _plot(figure) + note


def _effects(comparison: Comparison) -> str:
    """What each swept setting does to val, where more than the method was swept: points with their n, or a heat map for a pair."""
    runs = [run for group in comparison.groups.values() for run in group]
    keys = swept(runs)
    if set(keys) <= {"method"}:
        return ""
    key = f"val/{comparison.primary}"
    title = f"val {comparison.titles[comparison.primary]}, %"

    def values(name: str) -> list[str]:
        return sorted({run.overrides.get(name, "default") for run in runs}, key=by_size)

    def scores(**chosen: str) -> list[float]:
        return [
            100 * run.summary[key]
            for run in runs
            if key in run.summary and all(run.overrides.get(name, "default") == value for name, value in chosen.items())
        ]

    if len(keys) == 2:
        first, second = keys
        x, y = values(second), values(first)
        cells = [[scores(**{first: a, second: b}) for b in x] for a in y]
        means = [[sum(cell) / len(cell) if cell else None for cell in row] for row in cells]
        text = [[f"{sum(cell) / len(cell):.2f}<br>n = {len(cell)}" if cell else "" for cell in row] for row in cells]
        figure = _figure(second, first)
        figure.add_heatmap(x=x, y=y, z=means, text=text, texttemplate="%{text}", colorscale="Viridis", colorbar={"title": "%"})
        figure.update_xaxes(type="category").update_yaxes(type="category")
        return f"<h2>Effect of {_escape(first)} and {_escape(second)}, {_escape(title)}</h2>{_plot(figure)}"
    parts = []
    for name in keys:
        found = {value: scores(**{name: value}) for value in values(name)}
        counts = sorted({len(each) for each in found.values()})
        figure = _figure(name, title)
        x = [value for value, each in found.items() for _ in each]
        figure.add_scatter(
            x=x, y=[score for each in found.values() for score in each], mode="markers", name="runs", marker={"color": "#999"}
        )
        mean = {value: sum(each) / len(each) for value, each in found.items() if each}
        line = _style(0) | {"size": 12, "symbol": "line-ew-open"}
        figure.add_scatter(x=list(mean), y=list(mean.values()), mode="markers", name="mean", marker=line)
        if not all(is_number(value) for value in found):
            figure.update_xaxes(type="category")
        note = f"{counts[0]} runs a value." if len(counts) == 1 else (
            f"{counts[0]} to {counts[-1]} runs a value: the design is not balanced, and a difference may be another setting's."
        )  # fmt: skip
        parts.append(f"<h2>Effect of {_escape(name)}</h2>{_plot(figure)}<p class=soft>{note}</p>")
    return "".join(parts)


def _confusions(comparison: Comparison) -> str:
    rows = []
    for name, runs in list(comparison.groups.items())[:MAX_CURVES]:
        found = [(run.seed, run.summary.get("test/most_confused", run.summary.get("val/most_confused"))) for run in runs[:5]]
        rows.append(f"<li>{_escape(name)}: {_escape('; '.join(f'seed {seed}: {pair}' for seed, pair in found))}</li>")
    return f"<h2>Most confused pair</h2><ul>{''.join(rows)}</ul>"


def _picture_of(run: Run, name: str) -> Path | None:
    """A figure's file, if it is there and lies in the run's own folder."""
    path = run.folder / "figures" / f"{name}.png"
    try:
        return path if path.is_file() and path.resolve().is_relative_to(run.folder.resolve()) else None
    except OSError:
        return None


def _pictures(comparison: Comparison, name: str) -> str:
    """One a configuration, embedded; the other seeds', and those of further configurations, as links."""
    parts = []
    for i, (configuration, runs) in enumerate(comparison.groups.items()):
        paths = {run.seed: (run, _picture_of(run, name)) for run in runs}
        links = " ".join(f"<a href='{_link(run)}figures/{name}.png'>seed {seed}</a>" for seed, (run, path) in paths.items() if path)
        picture = ""
        first = next((path for _, path in paths.values() if path), None)
        if i < MAX_PICTURES and first:
            data = base64.b64encode(first.read_bytes()).decode()
            picture = f"<img alt='{name} of {_escape(configuration)}' src='data:image/png;base64,{data}'>"
        parts.append(f"<figure>{picture}<figcaption>{_escape(configuration)} <span class=soft>{links}</span></figcaption></figure>")
    return f"<div class=pictures>{''.join(parts)}</div>"


def _link(run: Run) -> str:
    """Where a run's folder is, from the page."""
    return "" if run.name == "." else f"{quote(run.name)}/"


def _links(groups: dict[str, list[Run]]) -> str:
    rows = []
    for configuration, runs in groups.items():
        links = ", ".join(f"<a href='{_link(run) or './'}'>seed {run.seed}</a>" for run in runs)
        rows.append(f"<li>{_escape(configuration)}: {links}</li>")
    return f"<ul>{''.join(rows)}</ul>"


def _made(comparison: Comparison) -> str:
    """The commands, the time and the machines that made it."""
    runs = comparison.sweep.runs
    commands = "<br>".join(f"<code>{_escape(command)}</code>" for command in comparison.sweep.commands)
    started = sorted(str(run.about.get("started")) for run in runs)
    machines = {
        f"{run.summary.get('machine/processor')}, {run.summary.get('machine/cpus')} cores, {run.summary.get('machine/threads')} threads, "
        f"{run.summary.get('machine/device')}, precision {run.summary.get('machine/precision')}"
        for run in runs
    }
    versions = {f"ssl_mnist {run.summary.get('versions/ssl_mnist')}, torch {run.summary.get('versions/torch')}" for run in runs}
    return (
        f"<h2>Made by</h2><p>{commands}</p><p class=soft>{started[0]} to {started[-1]}<br>"
        f"{'<br>'.join(_escape(each) for each in sorted(machines | versions))}</p>"
    )
