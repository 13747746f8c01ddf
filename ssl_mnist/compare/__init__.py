"""A sweep's runs side by side: one table, one page, plain words on what differs and whether it is real, from local files alone.

`write` leaves `comparison.csv`, `comparison.json` and `comparison.html` in the sweep's folder.
"""

import csv
import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

from ssl_mnist.compare.runs import Run, Sweep, configurations, read
from ssl_mnist.compare.statistics import Verdict, compare, estimate, percent
from ssl_mnist.tracking import write_whole

SCORES = ("test/linear_accuracy", "test/linear_map_accuracy", "test/knn_accuracy")
COSTS = ("pretrain/seconds", "seconds", "pretrain/images_per_second", "model/parameters")


def rows(groups: dict[str, list[Run]]) -> list[dict[str, Any]]:
    """A row a configuration: n, and mean, standard deviation and half width of the 95 % interval of each score and cost."""
    table = []
    for name, runs in groups.items():
        row: dict[str, Any] = {"configuration": name, "n": len(runs), "seeds": " ".join(str(run.seed) for run in runs)}
        scores = [key for key in runs[0].summary if key.startswith(("test/", "val/")) and isinstance(runs[0].summary[key], float | int)]
        for key in [*scores, *COSTS]:
            values = [run.summary[key] for run in runs if key in run.summary]
            found = estimate(values)
            row |= {f"{key} mean": found.mean, f"{key} std": found.std, f"{key} ci95": found.half_width}
        table.append(row | {"data/source": runs[0].summary["data/source"]})
    return table


def verdicts(groups: dict[str, list[Run]]) -> list[Verdict]:
    """Each pair of configurations on each test score that both have; pairs from different data are not compared."""
    found = []
    for (first, a), (second, b) in itertools.combinations(groups.items(), 2):
        if a[0].summary["data/source"] != b[0].summary["data/source"]:
            continue
        for score in SCORES:
            if score in a[0].summary and score in b[0].summary:
                by_seed = [{run.seed: run.summary[score] for run in runs} for runs in (a, b)]
                found.append(compare(first, second, score, *by_seed))
    return found


def console_table(table: list[dict[str, Any]]) -> str:
    """The rows as lines of text, accuracies in percent."""
    width = max(len("configuration"), *(len(row["configuration"]) for row in table))
    head = f"{'configuration':<{width}}  {'n':>2}  {'linear':>14}  {'linear_map':>14}  {'k-NN':>14}  {'seconds':>8}"
    lines = [head, "-" * len(head)]
    for row in table:
        cells = [percent(row.get(f"{score} mean"), row.get(f"{score} ci95")) for score in SCORES]
        seconds = f"{row['seconds mean']:>8.1f}"
        lines.append(f"{row['configuration']:<{width}}  {row['n']:>2}  {'  '.join(f'{cell:>14}' for cell in cells)}  {seconds}")
    return "\n".join([*lines, "test accuracy in %, mean ± half width of the 95 % interval over n seeds"])


def report(folder: Path) -> None:
    """`write`, and print what it found."""
    sweep, table = write(folder)
    print(f"\n{table}", flush=True)
    for failure in sweep.failures:
        print(f"FAILED  {' '.join(failure.overrides)}: {failure.error}")
    for warning in sweep.warnings:
        print(f"WARNING {warning}")
    print(f"page    {folder / 'comparison.html'}")
    if any(folder.glob("*/wandb/offline-run-*")):
        print(f"W&B     to upload: wandb sync {folder}/*/wandb/offline-run-*")


def write(folder: Path) -> tuple[Sweep, str]:
    """Write the three files into a sweep's folder; returns what was read and the table for the console.

    Raises ValueError where the folder holds no run.
    """
    from ssl_mnist.compare.page import page

    sweep = read(folder)
    groups = configurations(sweep.runs)
    table, found = rows(groups), verdicts(groups)
    text = io.StringIO()
    if table:
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in table for key in row)))
        writer.writeheader()
        writer.writerows(table)
    write_whole(folder / "comparison.csv", text.getvalue())
    clean = [{key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()} for row in table]
    content = {
        "configurations": clean,
        "verdicts": [verdict.words for verdict in found],
        "failures": [{"overrides": failure.overrides, "error": failure.error} for failure in sweep.failures],
        "warnings": sweep.warnings,
    }
    write_whole(folder / "comparison.json", json.dumps(content, indent=2) + "\n")
    write_whole(folder / "comparison.html", page(sweep, groups, table, found))
    return sweep, console_table(table) if table else "no run finished"
