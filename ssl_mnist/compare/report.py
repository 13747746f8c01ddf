"""What a sweep says, written to its folder as CSV, JSON and a page, and printed as a table."""

import csv
import io
import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssl_mnist.compare.comparison import Comparison, cell, compare_runs
from ssl_mnist.compare.reading import read
from ssl_mnist.compare.references import find
from ssl_mnist.console import say, show_page
from ssl_mnist.files import atomic_write, check_comparison
from ssl_mnist.tracking import sync_line

WIDTH, MAX_ROWS = 120, 50  # of the console


def console_table(comparison: Comparison) -> str:
    """The rows as text of at most 120 columns: the deciding split, as many scores as fit, the best marked."""
    scores = sorted(comparison.scores_on(comparison.split), key=lambda score: score is not comparison.primary)
    rows = comparison.rows[:MAX_ROWS]
    table = [*rows, *comparison.reference_rows]
    names = [_short_keys(row["configuration"], comparison.swept) for row in table]
    columns = [("n", [str(row["n"]) for row in table]), ("seconds", [_seconds(row) for row in table])]
    width = min(max(13, *map(len, names)), 50)
    room, shown = WIDTH - width - sum(2 + max(len(text) for text in [head, *cells]) for head, cells in columns), 0
    for score in scores:
        best = comparison.best_rows(score.key, score.higher)
        cells = [cell(row, score) + ("*" if row["configuration"] in best else " " * bool(best)) for row in table]
        room -= 2 + max(12, *map(len, cells))
        if room < 0 and shown:
            break
        columns.insert(1 + shown, (score.title, cells))
        shown += 1
    widths = [max(len(head) if head in ("n", "seconds") else 12, *map(len, cells)) for head, cells in columns]
    heads = [textwrap.wrap(head, size) for (head, _), size in zip(columns, widths, strict=True)]
    height = max(map(len, heads))
    heads = [[""] * (height - len(head)) + head for head in heads]
    lines = []
    for i in range(height):
        name = "configuration" if i == height - 1 else ""
        lines.append(f"{name:<{width}}" + "".join(f"  {head[i]:>{size}}" for head, size in zip(heads, widths, strict=True)))
    lines.append("-" * len(lines[-1]))
    for i in range(len(table)):
        if i == len(rows):
            lines.append("references ".ljust(len(lines[height]), "-"))
        name = names[i] if len(names[i]) <= width else f"{names[i][: width - 1]}…"
        lines.append(f"{name:<{width}}" + "".join(f"  {cells[i]:>{size}}" for (_, cells), size in zip(columns, widths, strict=True)))
    note = f"{comparison.split} accuracy in %; mean ± half width of the 95 % interval over n seeds, of two seeds both values"
    if any("*" in text for _, cells in columns for text in cells):
        note += "; * best mean"
    if shown < len(scores):
        note += f"; {len(scores) - shown} more columns on the page"
    if len(table) > len(rows):
        note += "; the references are kept from earlier runs, and not compared"
    if len(rows) < len(comparison.table):
        note += f"; the {len(rows)} best of {len(comparison.table)} configurations"
    return "\n".join([line.rstrip() for line in [*lines, *textwrap.wrap(note, WIDTH)]])


def _short_keys(name: str, keys: list[str]) -> str:
    """`lr=0.1` for `optimizer.lr=0.1`, where no other key that was swept ends so."""
    last = Counter(key.rpartition(".")[2] for key in keys)
    for key in keys:
        if last[key.rpartition(".")[2]] == 1:
            name = re.sub(rf"(^| ){re.escape(key)}=", rf"\1{key.rpartition('.')[2]}=", name)
    return name


def _seconds(row: dict[str, Any]) -> str:
    return f"{row['seconds mean']:.1f}" if "seconds mean" in row else "-"


def report(folder: Path, references: bool = True, open_page: bool = False) -> tuple[Comparison, list[str]]:
    """`write`, and print what it found. Returns the comparison, and which files could not be written and why.

    open_page: in the browser.
    """
    comparison, unwritten = write(folder, references)
    sweep = comparison.sweep
    say(f"\n{comparison.answer}.")
    for part in comparison.by_data.values() if comparison.groups else []:
        say(f"{part.basis} {part.evaluate}\n\n{console_table(part)}")
        if part.references.missing:
            say(f"\nreferences {part.references.line}\n  {part.references.command}")
    _list("FAILED ", [f"{job.name}: {job.error}" for job in sweep.failed])
    _list("WARNING", [*sweep.warnings, *run_warnings(comparison), *reference_warnings(comparison), *unwritten])
    if sweep.running:
        say(f"running {len(sweep.running)}: {_few([job.name for job in sweep.running])}")
    if sweep.killed:
        say(f"stopped {len(sweep.killed)} before they finished: {_few([job.name for job in sweep.killed])}")
    if not any(line.startswith("comparison.html") for line in unwritten):
        show_page(folder / "comparison.html", open_page)
    offline = sorted(path for place in sweep.places for path in place.glob("wandb/offline-run-*") if not any(path.glob("*.synced")))
    if offline:
        say(f"W&B     to upload: {sync_line(offline)}")
    return comparison, unwritten


def _list(head: str, lines: list[str]) -> None:
    for line in lines[:20]:
        say(f"{head} {line}")
    if len(lines) > 20:
        say(f"{head} and {len(lines) - 20} more, which the page lists")


def _few(names: list[str]) -> str:
    return "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def run_warnings(comparison: Comparison) -> list[str]:
    """What the runs themselves warn of, such as a probe that did not converge: once each, with the runs that say so."""
    found: dict[str, list[str]] = {}
    for name, runs in comparison.groups.items():
        for run in runs:
            for warning in run.summary.get("warnings") or []:
                found.setdefault(warning, []).append(f"{name} seed {run.seed}")
    return [f"{warning} ({_few(names)})" for warning, names in found.items()]


def reference_warnings(comparison: Comparison) -> list[str]:
    """What a reader of the references has to know: which are of other code, and which files could not be used."""
    every = [part.references for part in comparison.by_data.values()]
    notes = [f"reference {name}: {note}" for found in every for name, note in found.notes.items()]
    return list(dict.fromkeys([*notes, *(warning for found in every for warning in found.warnings)]))


def write(folder: Path, references: bool = True) -> tuple[Comparison, list[str]]:
    """Write comparison.csv, comparison.json and comparison.html into a sweep's folder; a file that cannot be written is named.

    references: whether floors and ceilings that are kept stand beside the sweep, unless its runs say `compare.references=false`.

    Raises UserError where the folder holds no run, or where one of these files is the user's own.
    """
    from ssl_mnist.compare.page import page

    check_comparison(folder)
    comparison = compare_runs(read(folder))
    if references:
        parts = [replace(part, references=find(part.sweep.runs, part.best_run)) for part in comparison.by_data.values()]
        comparison = replace(comparison, parts=parts) if comparison.parts else parts[0]
    sweep = comparison.sweep
    rows, beside = (
        [{k: v for k, v in row.items() if not k.endswith(" values")} for row in table]
        for table in (comparison.table, [row for part in comparison.by_data.values() for row in part.reference_rows])
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(["configuration", *(key for row in [*rows, *beside] for key in row)])))
    writer.writeheader()
    writer.writerows({key: _inert(value) for key, value in row.items()} for row in [*rows, *beside])
    content = {
        "answer": comparison.answer,
        "split": comparison.split,
        "configurations": _without_nan(rows),
        "references": _without_nan(beside),
        "verdicts": [
            {"score": v.score, "first": v.first, "second": v.second, "verdict": v.kind, "p": None if v.p != v.p else v.p, "words": v.words}
            for v in comparison.verdicts
        ],
        "different": {key: dict(zip(comparison.groups, values, strict=True)) for key, values in comparison.different.items()},
        "failures": [{"overrides": job.overrides, "error": job.error} for job in sweep.failed],
        "running": [job.overrides for job in sweep.running],
        "killed": [job.overrides for job in sweep.killed],
        "warnings": [*sweep.warnings, *run_warnings(comparison), *reference_warnings(comparison)],
    }
    files: dict[str, Callable[[], str]] = {
        "comparison.csv": text.getvalue,
        "comparison.json": lambda: json.dumps(content, indent=2) + "\n",
        "comparison.html": lambda: page(comparison),
    }
    unwritten = []
    for name, make in files.items():
        try:
            atomic_write(folder / name, make().encode(errors="replace"))
        except OSError as error:
            unwritten.append(f"{name} cannot be written: {error.strerror}")
    return comparison, unwritten


def _without_nan(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: None if value != value else value for key, value in row.items()} for row in rows]


def _inert(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
