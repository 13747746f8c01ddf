"""The comparison as one self-contained HTML page: opens from disk, needs no network. Interactive plots are plotly's."""

import base64
import html
import math
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ssl_mnist.compare.runs import Run, Sweep, by_size, is_number
from ssl_mnist.compare.statistics import Verdict, percent

COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D31", "#999999"]
DASHES = ["solid", "dash", "dot", "dashdot"]  # and markers' shapes, from the ninth configuration on
VAL = ("val/linear_accuracy", "val/linear_map_accuracy", "val/knn_accuracy")
MAX_PICTURES, MAX_CURVES, MAX_VERDICTS = 12, 60, 60  # so that a page of 500 runs stays small; what is left out is linked

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #666; --line: #ddd; --paper: #fff; --bad: #b00020; --link: #1f6fb2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #aaa; --line: #444; --paper: #161616; --bad: #ff8a80; --link: #6cb4ee; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem; margin: auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { white-space: normal; vertical-align: bottom; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: inherit; cursor: pointer; }
th button:after { content: " ↕"; color: var(--soft); } th[aria-sort=ascending] button:after { content: " ↑"; }
th[aria-sort=descending] button:after { content: " ↓"; }
.xtick text, .ytick text, .xtitle, .ytitle, .legendtext, .cbaxis text, .cbtitle text { fill: var(--soft) !important; }
code { overflow-wrap: anywhere; } .soft { color: var(--soft); } .bad { color: var(--bad); } a { color: var(--link); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; } .pictures img { width: 100%; }
figure { margin: 0; } li { margin: .3rem 0; }
@media print {
  body { max-width: none; } h2 { break-after: avoid; } figure, tr, li, .plotly-graph-div { break-inside: avoid; }
  th button:after { content: ""; }
  .wide { overflow: visible; } table { font-size: 8pt; } th, td { padding: .2rem .25rem; white-space: normal; }
}
"""
# Sorting by a column's head, which is a button; everything else that moves on the page is plotly's.
SORT = """
for (const head of document.querySelectorAll("th")) head.firstChild.onclick = () => {
  const body = head.closest("table").tBodies[0], i = head.cellIndex, up = head.ariaSort !== "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = row => row.cells[i].dataset.value ?? row.cells[i].textContent;
  const order = (a, b) => { const x = value(a), y = value(b); return isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y; };
  body.append(...[...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)));
};
"""


def page(sweep: Sweep, groups: dict[str, list[Run]], table: list[dict[str, Any]], verdicts: list[Verdict]) -> str:
    from ssl_mnist import __version__

    command = "python -m ssl_mnist -m " + " ".join(sweep.words)
    parts = [
        f"<p>Made by <code>{html.escape(command)}</code><br>"
        f"<span class=soft>ssl_mnist {html.escape(__version__)}, {sweep.folder.name}</span></p>",
        *(f"<p class=bad>Warning: {html.escape(warning)}</p>" for warning in sweep.warnings),
    ]
    if sweep.failures:
        rows = (f"<li><code>{html.escape(' '.join(f.overrides))}</code>: {html.escape(f.error)}</li>" for f in sweep.failures)
        parts += [f"<h2 class=bad>{len(sweep.failures)} failed</h2>", "<ul>", *rows, "</ul>"]
    if groups:
        parts += ["<h2>Scores and costs</h2>", _table(table), "<h2>Which is better?</h2>", _verdicts(verdicts)]
        parts += ["<h2>Accuracy against time</h2>", _plot(_cost(groups)), "<h2>Pretraining loss</h2>", _plot(_losses(groups))]
        parts += ["<h2>Accuracy of each class</h2>", _plot(_classes(groups)), _effects(groups), _confusions(groups)]
        for figure, title in {"tsne": "Latent space, t-SNE", "pca": "Latent space, PCA"}.items():
            parts += [f"<h2>{title}</h2>", _pictures(groups, figure)]
        parts += ["<h2>Runs</h2>", _links(groups)]
    title = f"{_count(len(sweep.runs), 'run')}, {_count(len(groups), 'configuration')}"
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'><title>{title}</title>"
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><h1>{title}</h1>{''.join(parts)}<script>{SORT}</script></body></html>"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _table(table: list[dict[str, Any]]) -> str:
    accuracies = [key.removesuffix(" mean") for row in table for key in row if key.endswith("_accuracy mean")]
    columns = list(dict.fromkeys(accuracies))
    first = [key.removeprefix("val/") for key in VAL]

    def place(key: str) -> tuple[bool, int, int, str]:
        split, _, score = key.partition("/")
        return split != "test", first.index(score) if score in first else len(first), len(score), score

    columns.sort(key=place)
    costs = {
        "pretrain/seconds": "pretraining, s",
        "seconds": "in all, s",
        "pretrain/images_per_second": "images/s",
        "model/parameters": "parameters",
    }
    columns = [*(key for key in columns if key.startswith("test/")), *costs, *(key for key in columns if key.startswith("val/"))]
    titles = [costs.get(key, key.replace("_accuracy", " %").replace("/", " ").replace("_", " ")) for key in columns]
    heads = ["configuration", "n", *titles, "data"]
    body = []
    for row in table:
        cells = [f"<td>{html.escape(row['configuration'])}</td>", f"<td>{row['n']}</td>"]
        for key in columns:
            mean, width = row.get(f"{key} mean"), row.get(f"{key} ci95")
            if mean is None:
                cells.append("<td data-value=-1>-</td>")
            else:
                cells.append(f"<td data-value={mean}>{f'{mean:,.0f}' if key in costs else percent(mean, width)}</td>")
        body.append(f"<tr>{''.join(cells)}<td>{row['data/source']}</td></tr>")
    head = "".join(f"<th scope=col><button>{html.escape(name)}</button></th>" for name in heads)
    note = "<p class=soft>Mean ± half width of the 95 % confidence interval (Student's t) over n seeds. A click on a head sorts.</p>"
    rows = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f"<div class=wide tabindex=0 role=region aria-label=Scores>{rows}</div>{note}"


def _verdicts(verdicts: list[Verdict]) -> str:
    if not verdicts:
        return "<p>One configuration alone, or none on the same data: nothing to compare.</p>"
    shown = [f"<li>{html.escape(verdict.words)}</li>" for verdict in verdicts[:MAX_VERDICTS]]
    rest = len(verdicts) - len(shown)
    more = f"<p class=soft>{rest} more in comparison.json.</p>" if rest else ""
    num = sum(not math.isnan(verdict.p) for verdict in verdicts)  # which were decided
    caution = f"<p class=soft>{num} comparisons, each by its own interval: where there is no difference, about one in 20 says better.</p>"
    return f"<ul>{''.join(shown)}</ul>{more}{caution if num > 1 else ''}"


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


def _plot(figure: go.Figure) -> str:
    """With room below for as many rows as the legend needs, its columns being as wide as its longest name."""
    names = [trace.name for trace in figure.data if trace.name]
    if len(names) > 1:
        rows = math.ceil(len(names) / max(1, 900 // (50 + 8 * max(map(len, names)))))
        legend = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
        figure.update_layout(height=360 + 20 * rows, margin_b=60 + 20 * rows, legend=legend)
    label = html.escape(f"{figure.layout.yaxis.title.text} by {figure.layout.xaxis.title.text}", quote=True)
    plot = figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True, "displayModeBar": False})
    return f'<div role=img aria-label="{label}">{plot}</div>'


def _style(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)]}


def _losses(groups: dict[str, list[Run]]) -> go.Figure:
    """Each configuration's first seed."""
    figure = _figure("epoch", "loss, each relative to its first")
    for i, (name, runs) in enumerate(list(groups.items())[:MAX_CURVES]):
        history = [row for row in runs[0].history if "pretrain/loss" in row]
        first = history[0]["pretrain/loss"] if history else 1
        x, y = [row["epoch"] for row in history], [row["pretrain/loss"] / first for row in history]
        figure.add_scatter(x=x, y=y, name=name, mode="lines", line=_style(i) | {"dash": DASHES[i // len(COLOURS) % len(DASHES)]})
    return figure


def _cost(groups: dict[str, list[Run]]) -> go.Figure:
    figure = _figure("wall time, s", "test linear accuracy, %")
    for i, (name, runs) in enumerate(list(groups.items())[:MAX_CURVES]):
        x, y = [run.summary["seconds"] for run in runs], [100 * run.summary["test/linear_accuracy"] for run in runs]
        text = [f"seed {run.seed}" for run in runs]
        figure.add_scatter(x=x, y=y, name=name, text=text, mode="markers", marker=_style(i) | {"size": 10, "symbol": i // len(COLOURS)})
    return figure


def _classes(groups: dict[str, list[Run]]) -> go.Figure:
    figure = _figure("class", "test accuracy of the linear probe, %")
    for i, (name, runs) in enumerate(list(groups.items())[:MAX_CURVES]):
        columns = list(zip(*(run.summary["test/per_class_accuracy"] for run in runs), strict=True))
        y = [100 * sum(column) / len(column) for column in columns]
        figure.add_bar(x=[str(k) for k in range(len(y))], y=y, name=name, marker=_style(i))
    low = min(min(trace.y) for trace in figure.data)
    figure.update_yaxes(range=[low - (100 - low) * 0.3 - 0.5, 100])
    figure.update_xaxes(type="category")
    return figure


def _effects(groups: dict[str, list[Run]]) -> str:
    """What each swept setting does, where more than the method was swept: a line for numbers, a heat map for names and for a pair."""
    runs = [run for group in groups.values() for run in group]
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    swept = [key for key in keys if len({run.settings.get(key) for run in runs}) > 1]
    if swept in ([], ["method"]):
        return ""

    def mean(chosen: list[Run], score: str = "val/linear_accuracy") -> float | None:
        found = [run.summary[score] for run in chosen if score in run.summary]
        return 100 * sum(found) / len(found) if found else None

    def values(key: str) -> list[str]:
        found = {run.settings.get(key, "default") for run in runs}
        return sorted(found, key=by_size)

    if len(swept) == 2:
        first, second = swept
        figure = _figure(second, first)
        x, y = values(second), values(first)
        z = [
            [mean([r for r in runs if r.settings.get(first, "default") == a and r.settings.get(second, "default") == b]) for b in x]
            for a in y
        ]
        figure.add_heatmap(x=x, y=y, z=z, colorscale="Viridis", colorbar={"title": "%"}, texttemplate="%{z:.2f}")
        figure.update_xaxes(type="category").update_yaxes(type="category")
        return f"<h2>Effect of {html.escape(first)} and {html.escape(second)}, val linear accuracy, %</h2>{_plot(figure)}"
    parts = []
    for key in swept:
        x = values(key)
        having = {value: [run for run in runs if run.settings.get(key, "default") == value] for value in x}
        if all(is_number(value) for value in x):
            figure = _figure(key, "val linear accuracy, %")
            figure.add_scatter(x=x, y=[mean(having[value]) for value in x], mode="lines+markers")
        else:
            figure = _scores_by(key, {value: {score: mean(chosen, score) for score in VAL} for value, chosen in having.items()})
        parts.append(f"<h2>Effect of {html.escape(key)}</h2>{_plot(figure)}")
    return "".join(parts)


def _scores_by(key: str, means: dict[str, dict[str, float | None]]) -> go.Figure:
    """A row a value, a column a score; the colour is the distance to the column's best, so that all columns share one scale."""
    figure = _figure("", key)
    best = {score: max(row[score] or 0.0 for row in means.values()) for score in VAL}
    cells = [[row[score] for score in VAL] for row in means.values()]
    behind = [[None if cell is None else cell - best[score] for score, cell in zip(VAL, row, strict=True)] for row in cells]
    bar = {"title": {"text": "points<br>to the best"}}
    figure.add_heatmap(x=VAL, y=list(means), z=behind, text=cells, texttemplate="%{text:.2f} %", colorscale="Viridis", colorbar=bar)
    return figure.update_yaxes(type="category", autorange="reversed")


def _confusions(groups: dict[str, list[Run]]) -> str:
    rows = []
    for name, runs in list(groups.items())[:MAX_CURVES]:
        pairs = "; ".join(f"seed {run.seed}: {run.summary['test/most_confused']}" for run in runs[:5])
        rows.append(f"<li>{html.escape(f'{name}: {pairs}')}</li>")
    return f"<h2>Most confused pair</h2><ul>{''.join(rows)}</ul>"


def _pictures(groups: dict[str, list[Run]], name: str) -> str:
    """One a configuration, embedded; the other seeds', and those of further configurations, as links."""
    parts = []
    for i, (configuration, runs) in enumerate(groups.items()):
        paths = [run.folder / "figures" / f"{name}.png" for run in runs]
        links = " ".join(
            f"<a href='{html.escape(f'{run.folder.name}/figures/{name}.png')}'>seed {run.seed}</a>"
            for run, path in zip(runs, paths, strict=True)
            if path.is_file()
        )
        picture = ""
        if i < MAX_PICTURES and paths[0].is_file():
            data = base64.b64encode(paths[0].read_bytes()).decode()
            picture = f"<img alt='{name} of {html.escape(configuration)}' src='data:image/png;base64,{data}'>"
        parts.append(f"<figure>{picture}<figcaption>{html.escape(configuration)} <span class=soft>{links}</span></figcaption></figure>")
    return f"<div class=pictures>{''.join(parts)}</div>"


def _links(groups: dict[str, list[Run]]) -> str:
    rows = []
    for configuration, runs in groups.items():
        links = ", ".join(f"<a href='{html.escape(run.folder.name)}/'>seed {run.seed}</a>" for run in runs)
        rows.append(f"<li>{html.escape(configuration)}: {links}</li>")
    return f"<ul>{''.join(rows)}</ul>"
