"""A sweep's runs, read from their folders: what was swept, what came out, what went wrong.

A file that cannot be read costs what it holds and no more: its run is named and left out.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_mnist import record
from ssl_mnist.config import flat
from ssl_mnist.errors import UserError


@dataclass(frozen=True)
class Run:
    folder: Path
    name: str  # of its folder, within the sweep's
    overrides: dict[str, str]  # what made it, by key; never the seed
    seed: int
    summary: dict[str, Any]
    history: list[dict[str, float]]
    about: dict[str, Any]  # run.json

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that make a result, flat."""
        return self.about["identity_parts"]["settings"]


@dataclass(frozen=True)
class Failure:
    name: str
    overrides: list[str]
    error: str


@dataclass
class Sweep:
    folder: Path
    runs: list[Run] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unfinished: list[Failure] = field(default_factory=list)  # killed, or still running
    warnings: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)  # that made it


def read(folder: Path) -> Sweep:
    """Everything under a sweep's folder. Raises UserError where it holds no run at all, finished or not."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name one of outputs/sweeps/")
    sweep = Sweep(folder)
    found: list[Run] = []
    pending: list[tuple[Failure, str | None]] = []  # with their identity
    for place in record.run_folders(folder):
        name = place.relative_to(folder).as_posix() if place != folder else "."
        try:
            about = record.read_json(place / record.RUN)
            overrides = [str(override) for override in about["overrides"]]
            command, identity = str(about["command"]), about["identity"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            sweep.warnings.append(f"{name}/{record.RUN} cannot be read and is left out ({_why(error)})")
            continue
        sweep.commands += [command] if command and command not in sweep.commands else []
        if not (place / record.SUMMARY).exists():
            pending.append((_unfinished(place, name, overrides), identity))
            continue
        try:
            found.append(_run(place, name, overrides, about, sweep.warnings))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            sweep.warnings.append(f"{name}/{record.SUMMARY} cannot be read, and its run is left out ({_why(error)})")
    sweep.runs = _newest(found, sweep.warnings)
    finished = {run.about["identity"] for run in found} | {tuple(sorted(run.about["overrides"])) for run in found}
    for failure, identity in pending:
        if identity not in finished and tuple(sorted(failure.overrides)) not in finished:
            (sweep.unfinished if failure.error in ("killed", "still running") else sweep.failures).append(failure)
    if not (sweep.runs or sweep.failures or sweep.unfinished or sweep.warnings):
        raise UserError(f"{folder} holds no run; name a folder of outputs/sweeps/ that a sweep (-m) has filled")
    for key in ("data/source", "data/fingerprint", "versions/ssl_mnist", "machine/device", "machine/precision"):
        values = sorted({str(run.summary.get(key)) for run in sweep.runs})
        if len(values) > 1:
            sweep.warnings.append(f"{key} differs between runs ({', '.join(values)}); they are kept apart, and their scores do not compare")
    return sweep


def _run(place: Path, name: str, overrides: list[str], about: dict[str, Any], warnings: list[str]) -> Run:
    summary = record.read_json(place / record.SUMMARY)
    pairs = [override.lstrip("+").partition("=")[::2] for override in overrides]
    own = {key: value for key, value in pairs if key != "seed"}
    for key in summary["scores"]:
        float(summary[key])
        str(summary["scores"][key]["title"])
    for key in COSTS:
        float(summary[key])
    flat(about["identity_parts"]["settings"])
    _rows_of = _rows(place / record.METRICS, f"{name}/{record.METRICS}", warnings)
    return Run(place, name, own, int(summary["seed"]), summary, _rows_of, about)


COSTS = ("pretrain/seconds", "seconds", "pretrain/images_per_second", "model/parameters")


def _unfinished(place: Path, name: str, overrides: list[str]) -> Failure:
    try:
        error = (place / record.ERROR).read_text(errors="replace").partition("\n")[0]
    except OSError:
        error = "still running" if record.is_locked(place) else "killed"
    return Failure(name, overrides, error)


def _newest(found: list[Run], warnings: list[str]) -> list[Run]:
    """Of runs with the same overrides, data and version the one that began last."""
    newest: dict[tuple[Any, ...], Run] = {}
    for run in sorted(found, key=lambda run: (str(run.about.get("started")), run.name)):
        same = (*sorted(run.overrides.items()), run.seed, *(str(run.summary.get(key)) for key in APART))
        if same in newest:
            older = newest[same]
            differs = record.parts_difference(older.about["identity_parts"], run.about["identity_parts"])
            warnings.append(f"{older.name} is left out: {run.name} ran later with the same overrides (what differs: {differs})")
        newest[same] = run
    return sorted(newest.values(), key=lambda run: run.name)


APART = ("data/source", "data/fingerprint", "versions/ssl_mnist", "machine/device", "machine/precision")  # never averaged together


def configurations(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs that differ in nothing but their seed, under what tells them from the others; each list in the order of its seeds.

    The configurations stand in the order of what was swept, numbers by size.
    """
    rows = [run.overrides | {key: str(run.summary.get(key)) for key in APART} for run in runs]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    different = [key for key in keys if len({row.get(key) for row in rows}) > 1]
    shown = {key: _short({row[key] for row in rows if key in row}) for key in different}
    groups: dict[str, list[Run]] = {}
    for run, row in sorted(zip(runs, rows, strict=True), key=lambda pair: [by_size(pair[1].get(key, "")) for key in different]):
        parts = [row[key] if key == "method" else f"{key}={shown[key][row[key]]}" for key in different if key in row]
        groups.setdefault(" ".join(parts) or str(run.summary.get("choices/method")), []).append(run)
    return {name: sorted(group, key=lambda run: run.seed) for name, group in groups.items()}


def swept(runs: list[Run]) -> list[str]:
    """The overrides that differ between runs, the seed left out."""
    keys = dict.fromkeys(key for run in runs for key in run.overrides)
    return [key for key in keys if len({run.overrides.get(key) for run in runs}) > 1]


def differing_settings(groups: dict[str, list[Run]]) -> dict[str, list[str]]:
    """Settings that differ between configurations: by key, the value of each configuration."""
    flats = [{key: value for key, value in runs[0].settings.items() if key != "seed"} for runs in groups.values()]
    keys = dict.fromkeys(key for settings in flats for key in settings)
    table = {key: [str(settings.get(key, "-")) for settings in flats] for key in keys if not key.endswith("_target_")}
    return {key: values for key, values in table.items() if len(set(values)) > 1}


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


def _rows(path: Path, name: str, warnings: list[str]) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a line that is none, as a killed run leaves one, is named and left out."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        warnings.append(f"{name} cannot be read ({_why(error)}); its run has no curve")
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            float(row["epoch"])
            rows.append(row)
        except (ValueError, KeyError, TypeError):
            warnings.append(f"{name}: line {number} is broken and left out")
    return rows


def _why(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"{error} is missing" if isinstance(error, KeyError) else "it is empty, cut short or of another form"
