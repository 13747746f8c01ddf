"""What a sweep says: a table, verdicts and one sentence; written to its folder as CSV, JSON and a page, and printed."""

import csv
import io
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_mnist import record
from ssl_mnist.compare.runs import COSTS, Run, Sweep, configurations, differing_settings, read, swept
from ssl_mnist.compare.statistics import Verdict, compare, estimate, percent, sampling_error, seeds_needed
from ssl_mnist.console import say


@dataclass(frozen=True)
class Comparison:
    """split: "test" where nothing but method and seed was swept and test was read everywhere, else "val": what decides."""

    sweep: Sweep
    groups: dict[str, list[Run]]
    split: str
    titles: dict[str, str]  # name of a score, without split -> its title, in the order of the runs' summaries
    primary: str  # the score that decides
    table: list[dict[str, Any]]
    verdicts: list[Verdict]
    different: dict[str, list[str]]  # settings that differ between configurations

    @property
    def num_images(self) -> int:
        return num_images(next(iter(self.groups.values()))[0], self.split)

    @property
    def best(self) -> str | None:
        """The configuration with the highest mean of the primary score."""
        key = f"{self.split}/{self.primary} mean"
        rows = [row for row in self.table if key in row]
        return max(rows, key=lambda row: row[key])["configuration"] if rows else None

    @property
    def answer(self) -> str:
        """The outcome in one sentence."""
        if not self.groups:
            return "No run finished."
        key, title = f"{self.split}/{self.primary}", self.titles[self.primary]
        row = next(row for row in self.table if row["configuration"] == self.best)
        score = f"{percent(row[f'{key} mean'], row[f'{key} ci95'])} % on {self.split}"
        seeds = f"{row['n']} seed{'s' * (row['n'] != 1)}"
        if len(self.groups) == 1:
            return f"{self.best}: {score} by the {title} ({seeds})."
        ahead = f"{self.best} has the highest {title}, {score} ({seeds})"
        mine = [verdict for verdict in self.verdicts if verdict.score.startswith(f"{self.split} {title}") and self.best in verdict[:2]]
        if mine and all(verdict.decided for verdict in mine):
            return f"{ahead}, and is better than every other configuration."
        if any(not math.isnan(verdict.p) for verdict in mine):
            return f"{ahead}, but is not told apart from every other configuration."
        return f"{ahead}; too few seeds to call it better (at least {seeds_needed()} are needed)."


def num_images(run: Run, split: str) -> int:
    return int(run.summary.get(f"data/{split}_size") or 1)


def compare_runs(sweep: Sweep) -> Comparison:
    """Everything that the page, the table and the files say."""
    groups = configurations(sweep.runs)
    names = {key: about["title"] for run in sweep.runs for key, about in run.summary["scores"].items()}
    everywhere = bool(sweep.runs) and all(any(key.startswith("test/") for key in run.summary["scores"]) for run in sweep.runs)
    split = "test" if everywhere and set(swept(sweep.runs)) <= {"method"} else "val"
    titles = {key.partition("/")[2]: title for key, title in names.items()}
    common = [name for name in titles if all(f"{split}/{name}" in run.summary["scores"] for run in sweep.runs)]
    primary = common[0] if common else next(iter(titles), "")
    table = [_row(name, runs) for name, runs in groups.items()]
    verdicts = _verdicts(groups, split, titles)
    return Comparison(sweep, groups, split, titles, primary, table, verdicts, differing_settings(groups))


def _row(name: str, runs: list[Run]) -> dict[str, Any]:
    """n, and mean, sample standard deviation and half width of the 95 % interval of each score and cost."""
    first = runs[0].summary
    row: dict[str, Any] = {"configuration": name, "n": len(runs), "seeds": " ".join(str(run.seed) for run in runs)}
    for key in [*first["scores"], *COSTS]:
        values = [run.summary[key] for run in runs if key in run.summary]
        split = key.partition("/")[0]
        found = estimate(values, 1 / num_images(runs[0], split) if key in first["scores"] else 0.0)
        row |= {f"{key} mean": found.mean, f"{key} std": found.std, f"{key} ci95": found.half_width}
        if key in first["scores"]:
            row[f"{key} sampling"] = sampling_error(found.mean, num_images(runs[0], split))
    return row | {"data/source": first["data/source"]}


def _verdicts(groups: dict[str, list[Run]], split: str, titles: dict[str, str]) -> list[Verdict]:
    """Each pair of configurations on each score that both have; pairs from different data are not compared."""
    found = []
    for (first, a), (second, b) in itertools.combinations(groups.items(), 2):
        if a[0].summary.get("data/fingerprint") != b[0].summary.get("data/fingerprint"):
            continue
        for name, title in titles.items():
            key = f"{split}/{name}"
            if key in a[0].summary and key in b[0].summary:
                by_seed = [{run.seed: run.summary[key] for run in runs if key in run.summary} for runs in (a, b)]
                found.append(compare((first, second), f"{split} {title}", by_seed[0], by_seed[1], num_images(a[0], split)))
    return found


def console_table(comparison: Comparison) -> str:
    """The rows as lines of text of at most 120 columns, accuracies in percent; * marks the highest of a column."""
    names = [name for name in comparison.titles if any(f"{comparison.split}/{name} mean" in row for row in comparison.table)][:4]
    keys = [f"{comparison.split}/{name}" for name in names]
    heads = [comparison.titles[name].replace("linear probe, ", "")[:15] for name in names]
    width = min(max(len("configuration"), *(len(row["configuration"]) for row in comparison.table)), 44)
    head = f"{'configuration':<{width}}  {'n':>2}  " + "  ".join(f"{name:>15}" for name in heads) + f"  {'seconds':>7}"
    best = {key: max((row.get(f"{key} mean", -1.0) for row in comparison.table), default=0.0) for key in keys}
    lines = [head, "-" * len(head)]
    for row in comparison.table:
        cells = []
        for key in keys:
            mark = "*" if len(comparison.table) > 1 and row.get(f"{key} mean") == best[key] else " "
            cells.append(f"{percent(row.get(f'{key} mean'), row.get(f'{key} ci95')) + mark:>15}")
        name = row["configuration"] if len(row["configuration"]) <= width else row["configuration"][: width - 1] + "…"
        lines.append(f"{name:<{width}}  {row['n']:>2}  {'  '.join(cells)}  {row['seconds mean']:>7.0f}")
    lines.append(f"{comparison.split} accuracy in %, mean ± half width of the 95 % interval over n seeds; * the highest")
    return "\n".join(lines)


def report(folder: Path) -> Comparison:
    """`write`, and print what it found."""
    comparison = write(folder)
    sweep = comparison.sweep
    say("\n" + (console_table(comparison) if comparison.table else "no run finished"))
    say(f"\n{comparison.answer}")
    for failure in sweep.failures:
        say(f"FAILED  {' '.join(failure.overrides)}: {failure.error}")
    for unfinished in sweep.unfinished:
        say(f"NOTE    {unfinished.name} is not finished ({unfinished.error}): {' '.join(unfinished.overrides)}")
    for warning in sweep.warnings:
        say(f"WARNING {warning}")
    say(f"page    {folder / 'comparison.html'}")
    offline = sorted(run.parent for run in folder.rglob("offline-run-*/run-*.wandb"))
    if offline:
        from ssl_mnist.tracking import sync_line

        say(f"W&B     to upload: {sync_line(offline)}")
    return comparison


def write(folder: Path) -> Comparison:
    """Write `comparison.csv`, `.json` and `.html` into a sweep's folder. Raises UserError where the folder holds no run."""
    from ssl_mnist.compare.page import page

    comparison = compare_runs(read(folder))
    text = io.StringIO()
    if comparison.table:
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in comparison.table for key in row)))
        writer.writeheader()
        writer.writerows({key: _inert(value) for key, value in row.items()} for row in comparison.table)
    record.atomic_write(folder / "comparison.csv", text.getvalue())
    content = {
        "answer": comparison.answer,
        "decided_by": comparison.split,
        "configurations": [_without_nan(row) for row in comparison.table],
        "different": comparison.different,
        "verdicts": [verdict.words for verdict in comparison.verdicts],
        "failures": [{"overrides": failure.overrides, "error": failure.error} for failure in comparison.sweep.failures],
        "unfinished": [{"overrides": each.overrides, "error": each.error} for each in comparison.sweep.unfinished],
        "warnings": comparison.sweep.warnings,
    }
    record.atomic_write(folder / "comparison.json", json.dumps(content, indent=2) + "\n")
    record.atomic_write(folder / "comparison.html", page(comparison))
    return comparison


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _inert(value: Any) -> Any:
    """A text that a spreadsheet would read as a formula, made one that it does not."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@" and value[:1] else value
