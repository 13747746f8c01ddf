"""What was run: the options that were chosen, the settings that differ from their defaults, and the command that repeats it."""

import json
import shlex
from typing import Any

from ssl_mnist import config
from ssl_mnist.compare.references import config_flags
from ssl_mnist.compare.runs import Run
from ssl_mnist.errors import UserError
from ssl_mnist.pages import Cell, Note, Part, Section, Table

HIDDEN = ("tracking", "open", "seed")  # the seed stands above


def command(run: Run) -> str:
    """That makes this run alone, also where a sweep made it."""
    words = run.record["overrides"]
    if run.record["sweep"] and run.record["choices"].get("experiment"):  # which may be a sweep by itself
        words = [*words, "hydra.mode=RUN"]
    return shlex.join(["python", "-m", "ssl_mnist", *config_flags(run), *words])


def section(run: Run) -> Section:
    choices = {group: str(option) for group, option in run.record["choices"].items() if option}
    parts: list[Part] = [Table(["group", "option"], [[Cell(group), Cell(option)] for group, option in choices.items()], "Options",
                               sortable=False, look="plain")]  # fmt: skip
    found = _differing(run, choices)
    if found is None:
        parts.append(Note("Some of these options are not part of this version of ssl_mnist; run.json holds every setting."))
    elif found:
        rows = [[Cell(key, look="key"), Cell(value), Cell(default)] for key, (value, default) in found.items()]
        parts += [
            Note("Settings that differ from the defaults of these options; - where one is not there:", ""),
            Table(["setting", "value", "default"], rows, "Settings", sortable=False, look="plain"),
        ]
    else:
        parts.append(Note("All other settings are the defaults of these options.", ""))
    return Section("settings", "What was run", parts)


def _differing(run: Run, choices: dict[str, str]) -> dict[str, tuple[str, str]] | None:
    """Value and default by key; None where the options cannot be composed, being the user's own or of another version."""
    try:
        default = config.compose(*(f"{group}={option}" for group, option in choices.items() if group != "experiment"))
    except UserError:
        return None
    mine, theirs = (_flat(settings) for settings in (run.record["settings"], default))
    return {
        key: (mine.get(key, "-"), theirs.get(key, "-"))
        for key in {**mine, **theirs}
        if mine.get(key) != theirs.get(key) and key.partition(".")[0] not in HIDDEN
    }


def _flat(settings: dict[str, Any]) -> dict[str, str]:
    values = config.flat({key: value for key, value in settings.items() if key not in ("choices", "overrides")})
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
