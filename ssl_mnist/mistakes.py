"""What a user can get wrong: values that cannot be, and one line on what to do for each error that reaches the command."""

import difflib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

POSITIVE = sys.float_info.min
RANGES: dict[str, tuple[float, float]] = {  # inclusive; where a key is absent, as momentum from adamw, nothing is checked
    "seed": (0, 2**32 - 1),
    "pretrain.epochs": (0, 1_000_000),
    "pretrain.batch_size": (2, 1_000_000),
    "pretrain.warmup": (0, 1),
    "pretrain.log_every": (1, 1_000_000),
    "optimizer.lr": (POSITIVE, 1_000_000),
    "optimizer.weight_decay": (0, 1_000_000),
    "optimizer.momentum": (0, 1),
    "probe.map_size": (1, 28),
    "probe.shift": (0, 4),
    "probe.knn_k": (1, 1_000_000),
    "probe.knn_temperature": (POSITIVE, 1_000_000),
    "probe.num_draws": (1, 1000),
    "probe.num_points": (50, 10_000),
}
CHOICES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("auto", "32", "bf16-mixed"),
    "tracking.mode": ("auto", "online", "offline", "disabled"),
}


def check(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Types and ranges, by dotted key. A value keeps the type that its YAML file, in `defaults`, gave it, and so do a list's elements.

    Raises ValueError with one line that names the key and what it may be.
    """
    for key in defaults:
        if key not in values and not key.startswith("augmentation."):
            raise ValueError(f"{key} cannot be removed")
    for key, allowed in CHOICES.items():
        if str(values[key]) not in allowed:
            raise ValueError(f"{key} must be one of {', '.join(allowed)}, got {values[key]}")
    for key, value in values.items():
        expected = defaults.get(key)
        if expected is None or key in CHOICES or _fits(value, expected):
            continue
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list"}
        raise ValueError(f"{key} must be {names[type(expected)]} like {expected}, got {value!r}")
    for key, (low, high) in RANGES.items():
        value = values.get(key)
        if value is not None and not low <= value <= high:
            bounds = f"at most {high:g}" if value > high else "above 0" if low == POSITIVE else f"at least {low:g}"
            raise ValueError(f"{key} must be {bounds}, got {value}")
    l2 = values["probe.l2"]
    if not l2 or min(l2) <= 0:
        raise ValueError(f"probe.l2 must be a list of numbers above 0, got {l2}")
    few = values["probe.few_labels"]
    if few and min(few) <= 0:
        raise ValueError(f"probe.few_labels must be a list of whole numbers above 0, got {few}")
    objective = values["objective"]
    if objective.startswith("test/"):
        raise ValueError(f"objective must be a val score, got {objective}: choices are not made on test")
    probes = ["linear", "linear_map", "knn", "kmeans", *(f"linear_{num}_labels" for num in few)]
    scores = [f"val/{probe}{suffix}_accuracy" for suffix in ("", "_shifts")[: 1 + bool(values["probe.shift"])] for probe in probes]
    if objective.startswith("val/") and objective not in scores:
        raise ValueError(f"objective must be one of {', '.join(scores)}, got {objective}")


def _fits(value: Any, expected: Any) -> bool:
    """Whether a value has the type of another; a whole number is a number, and a list is told by its elements."""
    if isinstance(value, list) and isinstance(expected, list):
        return not expected or all(any(_fits(each, like) for like in expected) for each in value)
    return type(value) is type(expected) or (type(value) is int and type(expected) is float)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted key, value) of every value in a tree of dicts; a list is a value."""
    pairs = []
    for key, value in tree.items():
        pairs += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return pairs


def explain(error: BaseException, config_dir: Path) -> str:
    """One line on what to do about a user's error, Hydra's own among them, which are told by their words."""
    text, cause = str(error), error.__cause__
    if text.startswith("Error in call to target") and cause is not None:
        where = re.search(r"full_key: (\S+)", text)
        return f"{where[1]}: {cause}" if where and where[1] not in str(cause) else str(cause)
    if missing := re.search(r"Could not override '([^']+)'", text):
        return _near_miss(missing[1], config_dir)
    if missing := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        group, option = missing.groups()
        if group.startswith("hydra/"):
            return f"{group}={option} is not installed; pip install -e '.[sweep]' brings joblib, submitit and optuna, '.[ray]' brings ray"
        return f"{group}={option} is no option; {group} is one of {', '.join(sorted(p.stem for p in (config_dir / group).glob('*.yaml')))}"
    if unparsable := re.search(r"(?:parsing override|Unrecognized argument:?) '([^']*)'", text):
        return f"'{unparsable[1]}' is neither group=option nor key=value; --help shows examples"
    if isinstance(error, OSError) and error.errno:
        what = f"cannot use {error.filename}" if error.filename else "cannot go on"
        return f"{what}: {error.strerror}; results go to hydra.run.dir (hydra.sweep.dir), data comes from data.root"
    return " ".join(text.split())


def _near_miss(key: str, config_dir: Path) -> str:
    """What to say of a setting that is not there."""
    if (config_dir / key).is_dir():
        return f"{key} is not chosen by default; add it, as in +{key}={min(path.stem for path in (config_dir / key).glob('*.yaml'))}"
    known: dict[str, list[str]] = {}  # key -> the options it comes with
    for path in config_dir.rglob("*.yaml"):
        group = ".".join(path.relative_to(config_dir).parent.parts)
        content = yaml.safe_load(path.read_text())
        prefix = "" if group in ("", "method", "experiment") else f"{group}."
        for leaf, _ in leaves(content, prefix):
            parts = leaf.split(".")
            for i in range(len(parts)):
                known.setdefault(".".join(parts[: i + 1]), []).append(f"{group}={path.stem}")
    if key in known:
        return f"there is no setting {key} here; it comes with {' or '.join(dict.fromkeys(known[key]))}"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    return f"there is no setting {key}" + (f"; did you mean {near[0]}?" if near else "; --cfg job shows all there are")
