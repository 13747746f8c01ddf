"""A run's record: what was run, what came of it.

`run.json` is written first and says everything that the run was made from; `summary.json` as soon as scores are known, and its presence
marks a complete run; `error.txt` where it failed. Whoever reads a run later reads these alone. Nothing is ever deleted: a folder that
holds another run, or files that are not a run's, is refused.
"""

import contextlib
import datetime
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ssl_mnist.claim import Held
from ssl_mnist.errors import UserError
from ssl_mnist.files import (
    CHECKPOINTS,
    ERROR,
    METRICS,
    PREDICTIONS,
    REPORT,
    REPRESENTATIONS,
    RUN,
    SUMMARY,
    atomic_write,
    atomically,
    read_json,
)

FORMAT = 1  # of run.json and summary.json


class Record:
    """A run's folder while it is being written. Use as a context manager: leaving it by an exception writes error.txt.

    folder: as `claim` found it; content: of run.json.
    """

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder, self.content = folder, content
        self.held = Held(folder)
        self.wandb_id: str | None = None  # of an earlier, unfinished try of this run

    def __enter__(self) -> "Record":
        self.held.__enter__()
        self.written = False
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # no earlier try of this run, or not a readable one
            before = read_json(self.folder / RUN)
            if before["identity"] == self.content["identity"]:
                self.content["sweep"] = self.content["sweep"] or before["sweep"]
                self.wandb_id = str(before["wandb"]["id"])
        return self

    def write_run(self, wandb: Mapping[str, Any] | None) -> None:
        """run.json; from here on the folder is this run's, and what an earlier, unfinished try of it left is gone on from or replaced."""
        self.content |= {"wandb": wandb}
        if fewer := self.content["identity_parts"].get("extends"):
            self._keep_summary(fewer)
        self._write()
        self.written = True
        for name in (SUMMARY, PREDICTIONS, REPRESENTATIONS, ERROR, REPORT):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / METRICS).touch()
        (self.folder / "figures").mkdir(exist_ok=True)

    def _keep_summary(self, fewer: Mapping[str, Any]) -> None:
        """Keep the result of the shorter run that this one extends."""
        kept = self.folder / f"summary-{fewer['epochs']}-epochs.json"
        with contextlib.suppress(OSError, ValueError):  # there is none, after a first try of this run
            if read_json(self.folder / SUMMARY).get("identity") == fewer["identity"] and not kept.exists():
                os.replace(self.folder / SUMMARY, kept)

    def _write(self) -> None:
        atomic_write(self.folder / RUN, json.dumps(self.content, indent=2) + "\n")

    def end(self) -> None:
        """Note in run.json that all is done."""
        self.content |= {"ended": now()}
        self._write()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and self.written:  # a stop by the user leaves an unfinished run, not a failed one
            lines = "".join(traceback.format_exception(error))
            with contextlib.suppress(OSError):  # a full disk: the error itself is reported all the same
                atomic_write(self.folder / ERROR, f"{one_line(error)}\n\n{lines}")
                error.recorded_in = self.folder  # type: ignore[attr-defined]
        if isinstance(error, KeyboardInterrupt) and (self.folder / CHECKPOINTS).is_dir():
            error.folder = self.folder  # type: ignore[attr-defined]  # from which the run goes on
        self.held.__exit__()

    def log(self, metrics: Mapping[str, float]) -> None:
        """One row of metrics.jsonl."""
        with (self.folder / METRICS).open("a") as file:
            print(json.dumps(metrics), file=file)

    def metrics(self) -> bytes:
        """What metrics.jsonl holds; nothing where there is none."""
        path = self.folder / METRICS
        return path.read_bytes() if path.exists() else b""

    def sync_metrics(self) -> bytes:
        """Have metrics.jsonl on the disk itself; returns what it holds."""
        with (self.folder / METRICS).open("rb+") as file:
            os.fsync(file.fileno())
        return self.metrics()

    def continue_metrics(self, length: int) -> tuple[list[dict[str, float]], int]:
        """Cut metrics.jsonl to its first `length` bytes; returns their rows, and the last step that it held before (0: none)."""
        path = self.folder / METRICS
        content, sent = path.read_bytes(), 0
        for line in content.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # the last line of a killed try may be cut short
                sent = max(sent, int(json.loads(line)["step"]))
        with path.open("rb+") as file:
            file.truncate(length)
        return [json.loads(line) for line in content[:length].splitlines()], sent

    def figure(self, name: str, figure: Any) -> Path:
        """figures/<name>.png"""
        return save_figure(self.folder / "figures" / f"{name}.png", figure)

    def predictions(self, predictions: Mapping[str, Any]) -> None:
        """predictions.json: what the first probe said of each image."""
        atomic_write(self.folder / PREDICTIONS, json.dumps(predictions) + "\n")

    def representations(self, content: Mapping[str, Any]) -> None:
        """representations.npz: what each layer makes of some images."""
        import numpy as np

        def write(scratch: Path) -> None:
            with scratch.open("wb") as file:  # under the name it has: numpy would add a suffix
                np.savez_compressed(file, **content)

        atomically(self.folder / REPRESENTATIONS, write)

    def summary(self, summary: Mapping[str, Any]) -> None:
        """summary.json, which marks the run as complete."""
        atomic_write(self.folder / SUMMARY, json.dumps(summary, indent=2) + "\n")


def save_figure(path: Path, figure: Any) -> Path:
    """Write a matplotlib figure as PNG, whole or not at all; returns the path."""
    atomically(path, lambda scratch: figure.savefig(scratch, format="png", dpi=120))
    return path


def one_line(error: BaseException) -> str:
    """An exception in one line: a user's error by its words, any other with its type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def describe(settings: Mapping[str, Any], sweep: Path | None, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json holds from the start. identity: from `config.identity`."""
    return {
        "format": FORMAT,
        "command": shlex.join(["python", "-m", "ssl_mnist", *_arguments(settings["overrides"])]),
        "overrides": settings["overrides"],
        "sweep": None if sweep is None else sweep.resolve().name,
        "choices": settings["choices"],
        "settings": {key: value for key, value in settings.items() if key not in ("choices", "overrides")},
        **identity,
        "git": git_state(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "pid": os.getpid(),
        "started": now(),
        "ended": None,
        "wandb": None,
    }


def _arguments(overrides: list[str]) -> list[str]:
    """Of the command that makes this run: those that this process was started with, where it is that command."""
    program = Path(sys.argv[0])
    return sys.argv[1:] if program.stem == "ssl-mnist" or program.parent.name == "ssl_mnist" else overrides


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that the package lies in, and whether it has uncommitted changes; None outside a checkout."""
    package = Path(__file__).resolve().parent
    if not (package.parent / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(status)}


def failed(folder: Path, settings: Mapping[str, Any], sweep: Path, error: BaseException, line: str) -> Path:
    """Leave a failed job of a sweep its record, run.json and error.txt, where it has none yet; returns its folder."""
    if place := getattr(error, "recorded_in", None):
        return place
    if (folder / RUN).exists():
        folder = folder.with_name(f"{folder.name}-failed-{os.getpid()}")
    folder.mkdir(parents=True, exist_ok=True)
    unknown: dict[str, Any] = {"identity": None, "identity_parts": {}, "resolved": {}}
    atomic_write(folder / RUN, json.dumps(describe(settings, sweep, unknown), indent=2) + "\n")
    atomic_write(folder / ERROR, f"{line}\n\n{''.join(traceback.format_exception(error))}")
    return folder
