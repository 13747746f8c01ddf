"""Runs of a sweep: what each is, which stand for a job, and how they fall into configurations."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_mnist.claim import parts_difference
from ssl_mnist.compare.predictions import Predictions

# What was measured beside the scores: key of the summary -> title, and whether higher is better (None: neither).
COSTS: dict[str, tuple[str, bool | None]] = {
    "pretrain/seconds": ("pretraining, s", False),
    "evaluate/seconds": ("evaluation, s", False),
    "seconds": ("in all, s", False),
    "pretrain/images_per_second": ("images/s", True),
    "pretrain/steps": ("steps", None),
    "model/parameters": ("parameters", None),
    "model/dim": ("embedding", None),
}
MAX_NAMED = 5  # examples in a warning
MAX_POINTS = 400  # of a curve; of more, every second, third, ... is drawn


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    place: str  # the folder, relative to the sweep's
    overrides: dict[str, str]  # by key, without the seed
    seed: int
    record: dict[str, Any]  # of run.json
    settings: dict[str, str]  # of run.json, flat, as text
    summary: dict[str, Any]
    history: list[dict[str, Any]]
    predictions: Predictions | None = None  # of the first probe, where they were written
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)  # made afterwards: summaries by name, the newest of each

    @property
    def method(self) -> str:
        return self.record["choices"]["method"]

    @property
    def data(self) -> tuple[str, str]:
        """Name and fingerprint: scores on different data are not compared."""
        return self.summary["data/source"], self.summary["data/fingerprint"]

    def curve(self, key: str) -> list[tuple[float, float]]:
        """(epoch, value) of the rows of metrics.jsonl that hold both as numbers."""
        points = [(row["epoch"], row[key]) for row in self.history if is_finite(row.get("epoch")) and is_finite(row.get(key))]
        return points[:: math.ceil(len(points) / MAX_POINTS) or 1]


@dataclass(frozen=True)
class Job:
    """A job without a result."""

    place: str
    overrides: list[str]
    started: str
    identity: str | None
    error: str  # one line, where it failed

    @property
    def name(self) -> str:
        return " ".join(self.overrides) or self.place


@dataclass(frozen=True)
class Sweep:
    folder: Path
    runs: list[Run]
    failed: list[Job]
    running: list[Job]
    killed: list[Job]
    warnings: list[str]
    places: list[Path]  # every job's folder, whatever came of it


def is_finite(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) < 1e300


def printable(place: str | os.PathLike[str]) -> str:
    """A path as text that can be printed, whatever bytes its name has."""
    return os.fsencode(place).decode(errors="replace")


def unfinished(runs: list[Run], jobs: dict[str, list[Job]]) -> tuple[list[Job], list[Job]]:
    """The failed and killed jobs that no later try has made good: neither the same overrides nor the same identity finished or runs now.

    Of several tries of one job the last is told, and a failed one rather than a killed one.
    """
    overrides = {tuple(sorted(run.record["overrides"])) for run in runs} | {tuple(sorted(job.overrides)) for job in jobs["running"]}
    identities = {run.record["identity"] for run in runs} - {None}
    left: dict[str, list[Job]] = {}
    for status in ("failed", "killed"):
        last = {tuple(sorted(job.overrides)): job for job in sorted(jobs[status], key=lambda job: job.started)}
        left[status] = [job for key, job in last.items() if key not in overrides and job.identity not in identities]
        overrides |= last.keys()
    return left["failed"], left["killed"]


def _apart(run: Run) -> dict[str, str]:
    """What keeps two runs of the same overrides apart."""
    resolved = run.record["resolved"]
    return {
        "data/source": " ".join(run.data),
        "version": run.summary["versions/ssl_mnist"],
        "device": str(resolved.get("device")),
        "precision": str(resolved.get("precision")),
    }


def _row(run: Run) -> dict[str, str]:
    return {"method": run.method} | run.overrides | _apart(run)


def newest_runs(runs: list[Run], warnings: list[str]) -> list[Run]:
    """Of runs with the same overrides, data, version, device and precision: the one that was started last."""
    newest: dict[tuple[Any, ...], Run] = {}
    differences = []
    for run in sorted(runs, key=lambda run: (run.record["started"], run.place)):
        key = (*sorted(_row(run).items()), run.seed)
        if key in newest:
            why = parts_difference(newest[key].record["identity_parts"], run.record["identity_parts"])
            differences.append(f"{printable(newest[key].place)} for {printable(run.place)} ({why})")
        newest[key] = run
    if differences:
        warnings.append(f"{_count(len(differences), 'run')} left out, because a newer one has the same overrides: {_some(differences)}")
    return sorted(newest.values(), key=lambda run: run.place)


def kept_apart(runs: list[Run]) -> Iterator[str]:
    keys = ["data/source"] * ("data" not in swept(runs)) + ["version", "device", "precision"]
    for key in keys:
        found = Counter(_apart(run)[key] for run in runs)
        if len(found) > 1:
            values = _some([f"{value}: {_count(num, 'run')}" for value, num in sorted(found.items())])
            consequence = "kept apart, and scores on different data are not compared" if key == "data/source" else "kept apart"
            yield f"{key} differs between runs ({values}); they are {consequence}"


def mixed(runs: list[Run]) -> list[str]:
    """Configurations whose runs differ in more than the seed, as when code or a YAML file was changed between two starts of a sweep."""
    found = []
    for name, group in configurations(runs).items():
        parts = [_without_seed(run.record["identity_parts"]) for run in group]
        other = next((part for part in parts if part != parts[0]), None)
        if other is not None:
            found.append(f"{name} ({parts_difference(parts[0], other)})")
    return [f"runs are averaged that differ in more than their seed: {_some(found)}"] if found else []


def _without_seed(parts: dict[str, Any]) -> dict[str, Any]:
    settings = parts.get("settings")
    if not isinstance(settings, dict):
        return parts
    return parts | {"settings": {key: value for key, value in settings.items() if key != "seed"}}


def configurations(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs that differ in nothing but their seed, under what tells them from the others; each list in the order of its seeds.

    The configurations stand in the order of what was swept, numbers by size.
    """
    rows = [_row(run) for run in runs]
    if len({row["data/source"] for row in rows}) == len({run.data[0] for run in runs}):  # the name is enough to tell the data apart
        rows = [row | {"data/source": run.data[0]} for row, run in zip(rows, runs, strict=True)]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    telling = [key for key in keys if len({row.get(key) for row in rows}) > 1]
    if "data" in telling and "data/source" in telling:  # said by the override
        telling.remove("data/source")
    shown = {key: _short({row[key] for row in rows if key in row}) for key in telling}
    groups: dict[tuple[str | None, ...], list[Run]] = {}
    names: dict[tuple[str | None, ...], str] = {}
    for run, row in sorted(zip(runs, rows, strict=True), key=lambda pair: [by_size(pair[1].get(key, "")) for key in telling]):
        parts = [row[key] if key == "method" else _part(key, shown[key][row[key]]) for key in telling if key in row]
        same = tuple(row.get(key) for key in telling)
        groups.setdefault(same, []).append(run)
        names[same] = " ".join(parts) or run.method
    return {names[same]: sorted(group, key=lambda run: run.seed) for same, group in groups.items()}


def _part(key: str, value: str) -> str:
    return key if key.startswith("~") and not value else f"{key}={value}"


def swept(runs: list[Run]) -> list[str]:
    """The keys whose overrides differ between runs; the seed is none."""
    rows = [{"method": run.method} | run.overrides for run in runs]
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({row.get(key) for row in rows}) > 1]


def value_of(run: Run, key: str) -> str:
    """Of a setting that was swept: as it was overridden, else as it was set."""
    return run.method if key == "method" else run.overrides.get(key, run.settings.get(key, "default"))


def differing_settings(groups: dict[str, list[Run]]) -> dict[str, list[str]]:
    """Settings and choices that differ between configurations: a value a configuration. What changes no result is left out."""
    columns = []
    for runs in groups.values():
        rows = [{key: str(value) for key, value in run.record["choices"].items()} | run.settings for run in runs]
        keys = dict.fromkeys(key for row in rows for key in row)
        columns.append({key: " or ".join(sorted({row.get(key, "-") for row in rows})) for key in keys})
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(key, "-") for column in columns]
        if len(set(values)) > 1 and not _changes_nothing(key):
            found[key] = values
    return found


def _changes_nothing(key: str) -> bool:
    parts = key.split(".")
    return parts[0] in ("seed", "tracking", "threads", "objective", "open") or parts[-1] in ("_target_", "_partial_") or key == "data.root"


def by_size(value: str) -> tuple[float, str]:
    """A key to sort by: numbers by size, texts after them."""
    return float(value) if is_number(value) else math.inf, value


def _short(values: set[str]) -> dict[str, str]:
    """Long numbers, as a search samples them, with as few digits (3 or more) as still tell all of them apart."""
    long = {value: float(value) for value in values if len(value) > 8 and is_number(value)}
    for digits in range(3, 18):
        short = {value: f"{number:.{digits}g}" for value, number in long.items()}
        if len(set(short.values()) | (values - long.keys())) == len(values):
            return {value: value for value in values} | short
    return {value: value for value in values}


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _some(items: Iterable[str]) -> str:
    found = list(items)
    return "; ".join(found[:MAX_NAMED]) + (f"; and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else "")
