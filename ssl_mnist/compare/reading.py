"""A sweep's runs, read from their folders.

Of a run only run.json, metrics.jsonl, summary.json, predictions.json, evaluation/*.json and error.txt are read. A file that cannot be
used costs its own job alone, or what it holds, and a warning names it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_mnist.claim import is_locked
from ssl_mnist.compare.predictions import Predictions, read_predictions
from ssl_mnist.compare.runs import COSTS, MAX_NAMED, Job, Run, Sweep, is_finite, kept_apart, mixed, newest_runs, printable, unfinished
from ssl_mnist.errors import UserError
from ssl_mnist.files import ERROR, EVALUATION, METRICS, PREDICTIONS, RUN, SUMMARY


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
            warnings.append(f"{printable(place)}/{RUN} {broken}; the job is left out")
            continue
        if (path / SUMMARY).exists():
            try:
                summary = _checked(path / SUMMARY, _check_summary)
            except _Broken as broken:
                warnings.append(f"{printable(place)}/{SUMMARY} {broken}; the job is left out")
                continue
            history = _rows(path / METRICS, f"{printable(place)}/{METRICS}", warnings)
            predictions = _predictions(path / PREDICTIONS, f"{printable(place)}/{PREDICTIONS}", summary, warnings)
            evaluations = _evaluations(path, printable(place), record, summary, warnings)
            runs.append(_run(path, place, record, summary, history, predictions, evaluations))
            if (path / ERROR).exists():
                warnings.append(f"{printable(place)} has its scores, and failed after them: {_first_line(path / ERROR)}")
        else:
            status = "failed" if (path / ERROR).exists() else "running" if is_locked(path) else "killed"
            error = _first_line(path / ERROR) if status == "failed" else ""
            jobs[status].append(Job(printable(place), record["overrides"], record["started"], record["identity"], error))
    if not places and not warnings:
        raise UserError(f"{folder} holds no run; name a folder of outputs/sweeps/ that a sweep (-m) has filled")
    failed, killed = unfinished(runs, jobs)
    kept = newest_runs(runs, warnings)
    warnings += [*kept_apart(kept), *mixed(kept)]
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
        warnings.append(f"{printable(error.filename)} cannot be read: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=unreadable):
        if RUN in folders:
            warnings.append(f"{printable(os.path.relpath(os.path.join(place, RUN), folder))} is a folder; the job is left out")
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
            warnings.append(f"{place}/{EVALUATION}/{printable(path.name)} {broken}; the evaluation is left out")
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
