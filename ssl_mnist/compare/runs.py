"""A sweep's runs, read from their folders: what was swept, what came out, what went wrong."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ssl_mnist.resume import FAILURES


@dataclass(frozen=True)
class Run:
    folder: Path
    settings: dict[str, str]  # the overrides that made it, by key; never the seed
    seed: int
    summary: dict[str, Any]
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Failure:
    overrides: list[str]
    error: str


@dataclass(frozen=True)
class Sweep:
    folder: Path
    runs: list[Run]
    failures: list[Failure]
    warnings: list[str]
    words: list[str]  # of the command line that made it


def read(folder: Path) -> Sweep:
    """Everything under a sweep's folder. Raises ValueError where it holds no run at all, finished or failed."""
    newest: dict[tuple[Any, ...], Run] = {}
    superseded = 0
    failures: list[Failure] = []
    warnings: list[str] = []
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; name one of outputs/sweeps/")
    recorded = {tuple(sorted(row["overrides"])): Failure(**row) for row in _rows(folder / FAILURES, warnings)}
    jobs = [path.parent for path in folder.glob("*/.hydra")]
    for job in sorted(jobs, key=lambda job: (_finished_at(job), job)):
        overrides = yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()) or []
        if not (job / "summary.json").is_file():
            if tuple(sorted(overrides)) not in recorded:
                failures.append(Failure(overrides, f"did not finish: {job.name} has no summary.json"))
            continue
        recorded.pop(tuple(sorted(overrides)), None)  # it failed once and finished later
        summary = json.loads((job / "summary.json").read_text())
        pairs = [override.lstrip("+").partition("=")[::2] for override in overrides]
        settings = {key: value for key, value in pairs if key != "seed"}
        run = Run(job, settings, summary["seed"], summary, _rows(job / "metrics.jsonl", warnings))
        same = (*sorted(settings.items()), run.seed, summary["data/source"], summary["versions/ssl_mnist"])
        superseded += same in newest
        newest[same] = run
    runs = sorted(newest.values(), key=lambda run: run.folder)
    if superseded:
        warnings.append(f"{superseded} of the runs left out: the same words ran again later, when a YAML file said something else")
    failures += recorded.values()
    if not runs and not failures:
        raise ValueError(f"{folder} holds no run; name a folder of outputs/sweeps/ that a sweep (-m) has filled")
    for key in ("data/source", "versions/ssl_mnist"):
        found = sorted({str(run.summary[key]) for run in runs})
        if len(found) > 1:
            warnings.append(f"{key} differs between runs ({', '.join(found)}); they are kept apart, and their scores do not compare")
    multirun = folder / "multirun.yaml"
    words = yaml.safe_load(multirun.read_text())["hydra"]["overrides"]["task"] if multirun.is_file() else []
    return Sweep(folder, runs, failures, warnings, words)


def _finished_at(job: Path) -> float:
    summary = job / "summary.json"
    return summary.stat().st_mtime if summary.is_file() else 0.0


def configurations(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs that differ in nothing but their seed, under what tells them from the others; each list in the order of its seeds.

    The configurations stand in the order of what was swept, numbers by size.
    """
    rows = [run.settings | {"data/source": run.summary["data/source"], "version": run.summary["versions/ssl_mnist"]} for run in runs]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    swept = [key for key in keys if len({row.get(key) for row in rows}) > 1]
    shown = {key: _short({row[key] for row in rows if key in row}) for key in swept}
    groups: dict[str, list[Run]] = {}
    for run, row in sorted(zip(runs, rows, strict=True), key=lambda pair: [by_size(pair[1].get(key, "")) for key in swept]):
        parts = [row[key] if key == "method" else f"{key}={shown[key][row[key]]}" for key in swept if key in row]
        groups.setdefault(" ".join(parts) or run.summary["choices/method"], []).append(run)
    return {name: sorted(group, key=lambda run: run.seed) for name, group in groups.items()}


def by_size(value: str) -> tuple[float, str]:
    """A key to sort by: numbers by size, texts after them."""
    return float(value) if is_number(value) else math.inf, value


def _short(values: set[str]) -> dict[str, str]:
    """Long numbers, as a search draws them, with as few digits (3 or more) as still tell all of them apart."""
    long = {value: float(value) for value in values if len(value) > 8 and is_number(value)}
    for digits in range(3, 18):
        short = {value: f"{number:.{digits}g}" for value, number in long.items()}
        if len(set(short.values()) | (values - long.keys())) == len(values):
            break
    return {value: value for value in values} | short


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _rows(path: Path, warnings: list[str]) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a line that is no object, as a killed run leaves one, is named and left out."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            warnings.append(f"{path.parent.name}/{path.name}: line {number} is broken and left out")
    return rows
