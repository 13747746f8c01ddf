"""A sweep's runs, read from their folders: what was swept, what came out, what went wrong.

Of a run only run.json, metrics.jsonl, summary.json, predictions.json, evaluation/*.json and error.txt are read. A file that cannot be
used costs its own job alone, or what it holds, and a warning names it.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_mnist.claim import is_locked, parts_difference
from ssl_mnist.compare.predictions import Predictions, read_predictions
from ssl_mnist.errors import UserError
from ssl_mnist.files import ERROR, EVALUATION, METRICS, PREDICTIONS, RUN, SUMMARY

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


def read(folder: Path) -> Sweep:
    """Everything below a sweep's folder, however deep. Raises UserError where there is no run, finished or not."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name one of outputs/sweeps/")
    runs: list[Run] = []
    jobs: dict[str, list[Job]] = {"failed": [], "running": [], "killed": []}
    warnings: list[str] = []
    places = list(_places(folder, warnings))
    for path in places:
        place = path.relative_to(folder).as_posix() if path != folder else "."
        try:
            record = _checked(path / RUN, _check_record)
        except _Broken as broken:
            warnings.append(f"{_shown(place)}/{RUN} {broken}; the job is left out")
            continue
        if (path / SUMMARY).exists():
            try:
                summary = _checked(path / SUMMARY, _check_summary)
            except _Broken as broken:
                warnings.append(f"{_shown(place)}/{SUMMARY} {broken}; the job is left out")
                continue
            history = _rows(path / METRICS, f"{_shown(place)}/{METRICS}", warnings)
            predictions = _predictions(path / PREDICTIONS, f"{_shown(place)}/{PREDICTIONS}", summary, warnings)
            evaluations = _evaluations(path, _shown(place), record, summary, warnings)
            runs.append(_run(path, place, record, summary, history, predictions, evaluations))
            if (path / ERROR).exists():
                warnings.append(f"{_shown(place)} has its scores, and failed after them: {_first_line(path / ERROR)}")
        else:
            status = "failed" if (path / ERROR).exists() else "running" if is_locked(path) else "killed"
            error = _first_line(path / ERROR) if status == "failed" else ""
            jobs[status].append(Job(_shown(place), record["overrides"], record["started"], record["identity"], error))
    if not places and not warnings:
        raise UserError(f"{folder} holds no run; name a folder of outputs/sweeps/ that a sweep (-m) has filled")
    failed, killed = _unfinished(runs, jobs)
    kept = _newest(runs, warnings)
    warnings += [*_kept_apart(kept), *_mixed(kept)]
    return Sweep(folder, kept, failed, jobs["running"], killed, warnings, places)


def _run(
    folder: Path,
    place: str,
    record: dict[str, Any],
    summary: dict[str, Any],
    history: list[dict[str, Any]],
    predictions: Predictions | None = None,
    evaluations: dict[str, dict[str, Any]] | None = None,
) -> Run:
    overrides = {key: value for key, value in map(_split, record["overrides"]) if key != "seed"}
    settings = dict(_flat(record["settings"]))
    return Run(folder, place, overrides, summary["seed"], record, settings, summary, history, predictions, evaluations or {})


def kept_run(path: Path, record: Any, summary: Any) -> Run:
    """A run of which one file holds the record and the summary. Raises ValueError where it is not what they hold."""
    if not (isinstance(record, dict) and isinstance(summary, dict)):
        raise ValueError("holds no run")
    _check_record(record)
    _check_summary(summary)
    return _run(path, path.stem, record, summary, [])


def _places(folder: Path, warnings: list[str]) -> Iterator[Path]:
    """Every folder with a run.json, in order; a run's own subfolders are not searched."""

    def unreadable(error: OSError) -> None:
        warnings.append(f"{_shown(error.filename)} cannot be read: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=unreadable):
        if RUN in folders:
            warnings.append(f"{_shown(os.path.relpath(os.path.join(place, RUN), folder))} is a folder; the job is left out")
            folders.clear()
        if RUN in files:
            folders.clear()
            yield Path(place)
        folders.sort()


class _Broken(ValueError):
    """Why a file cannot be used, as the rest of a sentence that begins with its name."""


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise _Broken("is a folder" if path.is_dir() else "is not a file")
        return path.read_text()
    except UnicodeDecodeError as error:
        raise _Broken("is not text") from error
    except OSError as error:
        raise _Broken(f"cannot be read: {error.strerror}") from error


def _checked(path: Path, check: Any) -> dict[str, Any]:
    text = _text(path)
    if not text.strip():
        raise _Broken("is empty")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Broken("is cut short or not JSON") from error
    if not isinstance(content, dict):
        raise _Broken("holds no JSON object")
    check(content)
    return content


def _need(content: dict[str, Any], kinds: dict[str, type]) -> None:
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind) or isinstance(content[key], bool):
            raise _Broken(f"has no {key}" if key not in content else f"has a {key} that is not {_KINDS[kind]}")


_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


def _check_record(content: dict[str, Any]) -> None:
    _need(content, {"command": str, "started": str, "overrides": list})
    _need(content, {"settings": dict, "choices": dict, "identity_parts": dict, "resolved": dict})
    if not all(isinstance(override, str) for override in content["overrides"]):
        raise _Broken("has overrides that are not texts")
    if not isinstance(content["choices"].get("method"), str):
        raise _Broken("does not say which method was chosen")
    if not isinstance(content.setdefault("identity", None), str | None):
        raise _Broken("has an identity that is not a text")
    if not isinstance(content.get("wandb"), dict | None):
        raise _Broken("has a wandb that is not an object")


def _check_summary(content: dict[str, Any]) -> None:
    _need(content, {"scores": dict, "seed": int, "data/source": str, "data/fingerprint": str, "versions/ssl_mnist": str})
    for key, about in content["scores"].items():
        well_formed = isinstance(about, dict) and isinstance(about.get("title"), str) and isinstance(about.get("higher_is_better"), bool)
        if not well_formed or key.partition("/")[0] not in ("test", "val"):
            raise _Broken(f"describes its score {key} in another form")
        if key not in content:
            raise _Broken(f"has no {key}")
        if about.get("num_images") is not None and not (is_finite(about["num_images"]) and about["num_images"] > 0):
            raise _Broken(f"describes its score {key} in another form")
        if not is_finite(content[key]) or (key.endswith("_accuracy") and not 0 <= content[key] <= 1):
            raise _Broken(f"has a {key} that is no score")
    for key, value in content.items():
        if value is None:
            continue
        if key in COSTS and not is_finite(value):
            raise _Broken(f"has a {key} that is not a number")
        if key in ("data/train_size", "data/val_size", "data/test_size") and not (is_finite(value) and value > 0):
            raise _Broken(f"has a {key} that is not a number of images")
        if key == "health/measures":
            if not (isinstance(value, dict) and all(isinstance(title, str) for title in value.values())):
                raise _Broken(f"has {key} that are not titles by name")
        elif key.startswith("health/") and key != "health/verdict" and not is_finite(value):
            raise _Broken(f"has a {key} that is not a number")
        if key.endswith(("/most_confused", "primary", "health/verdict")) and not isinstance(value, str):
            raise _Broken(f"has a {key} that is not a text")
        if key in ("warnings", "data/classes") and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise _Broken(f"has {key} that are not a list of texts")
        if key.endswith("/per_class_accuracy"):  # nan: a class without an image
            numbers = isinstance(value, list) and all(isinstance(item, float | int) and not abs(item) > 1 for item in value)
            if not numbers:
                raise _Broken(f"has a {key} that is not a list of accuracies")


def is_finite(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) < 1e300


def _rows(path: Path, name: str, warnings: list[str]) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; lines that are none, as a killed run leaves one, are named and left out."""
    if not path.exists():
        return []
    try:
        lines = _text(path).splitlines()
    except _Broken as broken:
        warnings.append(f"{name} {broken}; the run's curves are left out")
        return []
    rows, broken_lines = [], []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            broken_lines.append(str(number))
    if broken_lines:
        more = f" and {len(broken_lines) - MAX_NAMED} more" if len(broken_lines) > MAX_NAMED else ""
        warnings.append(f"{name}: line {', '.join(broken_lines[:MAX_NAMED])}{more} is broken and left out")
    return rows


def _predictions(path: Path, name: str, summary: dict[str, Any], warnings: list[str]) -> Predictions | None:
    if not os.path.lexists(path):  # of images without labels, or of an older version
        return None
    try:
        found = read_predictions(path, len(summary.get("data/classes") or []))
        if found.num != summary.get(f"data/{found.split}_size", found.num):
            raise ValueError("is of another number of images")
        return found
    except (OSError, ValueError) as error:
        why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        warnings.append(f"{name} {why}; the run's errors are left out")
        return None


def _evaluations(
    folder: Path, place: str, record: dict[str, Any], summary: dict[str, Any], warnings: list[str]
) -> dict[str, dict[str, Any]]:
    """What `python -m ssl_mnist.evaluate` has found of the run's encoder: the newest of each name, and on other data of each data set."""
    found = []
    for path in (folder / EVALUATION).glob("*.json"):
        try:
            content = _checked(path, _check_summary)
        except _Broken as broken:
            warnings.append(f"{place}/{EVALUATION}/{_shown(path.name)} {broken}; the evaluation is left out")
            continue
        if content.get("identity") == record["identity"]:  # else of an encoder that the run had before
            elsewhere = "" if content["data/fingerprint"] == summary["data/fingerprint"] else f" on {content['data/source']}"
            name = f"{path.stem.rpartition('-')[0]}{elsewhere}"
            found.append((str(content.get("evaluated", "")), path.stat().st_mtime, name, content))
    return {name: content for _, _, name, content in sorted(found, key=lambda each: each[:3])}


def _first_line(path: Path) -> str:
    try:
        lines = _text(path).strip().splitlines()
    except _Broken as broken:
        return f"{path.name} {broken}"
    text = "".join(c if c.isprintable() else " " for c in lines[0]) if lines else f"{path.name} is empty"
    return text if len(text) <= 500 else f"{text[:499]}…"


def _shown(place: str | os.PathLike[str]) -> str:
    """A path as text that can be printed, whatever bytes its name has."""
    return os.fsencode(place).decode(errors="replace")


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.lstrip("+").partition("=")
    return key, value


def _flat(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their values as text."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, settings if isinstance(settings, str) else json.dumps(settings)


def _unfinished(runs: list[Run], jobs: dict[str, list[Job]]) -> tuple[list[Job], list[Job]]:
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


def _newest(runs: list[Run], warnings: list[str]) -> list[Run]:
    """Of runs with the same overrides, data, version, device and precision: the one that was started last."""
    newest: dict[tuple[Any, ...], Run] = {}
    differences = []
    for run in sorted(runs, key=lambda run: (run.record["started"], run.place)):
        key = (*sorted(_row(run).items()), run.seed)
        if key in newest:
            why = parts_difference(newest[key].record["identity_parts"], run.record["identity_parts"])
            differences.append(f"{_shown(newest[key].place)} for {_shown(run.place)} ({why})")
        newest[key] = run
    if differences:
        warnings.append(f"{_count(len(differences), 'run')} left out, because a newer one has the same overrides: {_some(differences)}")
    return sorted(newest.values(), key=lambda run: run.place)


def _kept_apart(runs: list[Run]) -> Iterator[str]:
    keys = ["data/source"] * ("data" not in swept(runs)) + ["version", "device", "precision"]
    for key in keys:
        found = Counter(_apart(run)[key] for run in runs)
        if len(found) > 1:
            values = _some([f"{value}: {_count(num, 'run')}" for value, num in sorted(found.items())])
            consequence = "kept apart, and scores on different data are not compared" if key == "data/source" else "kept apart"
            yield f"{key} differs between runs ({values}); they are {consequence}"


def _mixed(runs: list[Run]) -> list[str]:
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
