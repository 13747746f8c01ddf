"""Floors and ceilings that are kept: what came of the runs of methods that say `reference`, for the comparisons of other sweeps.

A file a run, `<folder>/<fingerprint of the data>/<method>-s<seed>-<identity>.json`, holds the run's record and its summary, under a
checksum. The folder is $SSL_MNIST_REFERENCES, or else `ssl_mnist/references` in the user's cache. Removing files there costs only the
time to make them again.
"""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_mnist.files import RUN, SUMMARY, atomic_write, read_json, sha256

log = logging.getLogger(__name__)

FOLDER = "SSL_MNIST_REFERENCES"  # the environment variable
FORMAT = 1


def home() -> Path:
    """The folder of all that is kept."""
    if named := os.environ.get(FOLDER):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ssl_mnist" / "references"


def keep(folder: Path) -> Path | None:
    """Keep the result of the complete run in a folder, where it is a reference's and has scores; returns its file.

    A place that cannot be written costs a warning, not the run.
    """
    summary = read_json(folder / SUMMARY)
    if not (summary.get("reference") and summary["scores"]):
        return None
    record = read_json(folder / RUN) | {"wandb": None}
    content = {"format": FORMAT, "run": record, "summary": summary}
    name = f"{record['choices']['method']}-s{summary['seed']}-{record['identity']}.json"
    path = home() / summary["data/fingerprint"] / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(content | {"sha256": _checksum(content)}) + "\n")
    except OSError as error:
        log.warning("WARNING this reference is not kept for later comparisons: %s cannot be written (%s)", path, error.strerror)
        return None
    return path


def kept(fingerprint: str) -> Iterator[tuple[Path, dict[str, Any] | None]]:
    """Every file of one data set's references and what it holds, `run` and `summary`; None where it is damaged or of something else."""
    folder = home() / fingerprint
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("*.json")):
        try:
            content = read_json(path)
            checksum = content.pop("sha256")
            intact = content["format"] == FORMAT and checksum == _checksum(content)
        except (OSError, ValueError, KeyError, RecursionError):
            intact = False
        yield path, content if intact else None


def _checksum(content: dict[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode())[:16]
