"""The files of runs and sweeps: their names, writing them whole or not at all, reading them, and whether a user's lie in their place."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ssl_mnist.errors import UserError

RUN, SUMMARY, METRICS, ENCODER, ERROR, LOCK = "run.json", "summary.json", "metrics.jsonl", "encoder.pt", "error.txt", "run.lock"
CHECKPOINTS, ALIVE, PREDICTIONS, REPRESENTATIONS = "checkpoints", "run.alive", "predictions.json", "representations.npz"
SAFETENSORS = "model.safetensors"
REPORT, EXPLORER, EVALUATION = "report.html", "explore.html", "evaluation"
RESULTS = (SUMMARY, METRICS, ENCODER, PREDICTIONS, REPRESENTATIONS, ERROR, REPORT)


def atomic_write(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all."""
    atomically(path, lambda scratch: scratch.write_bytes(data.encode() if isinstance(data, str) else data))


def atomic_save(content: Any, path: Path) -> None:
    """torch.save, whole or not at all."""
    import torch

    def write(scratch: Path) -> None:
        with scratch.open("wb") as file:
            torch.save(content, file)

    atomically(path, write)


def atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` write a file under another name, which then takes the place of `path`; a failure leaves nothing."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        try:
            write(scratch)
        except RuntimeError as error:  # torch's writer hides the file system's error
            raise OSError(getattr(error.__context__, "errno", None) or 5, "cannot be written; is the disk full?", str(path)) from error
        except OSError as error:  # of a write, which names no file
            raise OSError(error.errno, error.strerror, str(path)) from error
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError where it holds none: empty, cut short, or something else."""
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def run_folders(folder: Path) -> Iterator[Path]:
    """Every folder at or below `folder` that holds a run.json, in order; a run's own subfolders are not searched."""
    for place, folders, files in os.walk(folder):
        if RUN in files:
            folders.clear()
            yield Path(place)
        folders.sort()


# The files that comparing a sweep writes, and what each of ours has in its first characters.
COMPARISON = {
    "comparison.csv": "configuration",
    "comparison.json": '{\n  "answer": ',
    "comparison.html": "<!doctype html><html lang=en><head>",
}


def check_comparison(folder: Path) -> None:
    """Raises UserError where comparing the runs in a folder would replace a file that is not of a comparison."""
    for name, beginning in COMPARISON.items():
        path = folder / name
        if path.is_file() and not path.read_bytes()[:200].decode(errors="replace").replace("\r", "").startswith(beginning):
            raise UserError(f"{path} is there and not of a sweep of ssl_mnist; choose another hydra.sweep.dir, or move it")


def check_sweep(folder: Path) -> None:
    """Raises UserError where a sweep in this folder would replace a file that is not of a sweep of ssl_mnist."""
    check_comparison(folder)
    notes = folder / "multirun.yaml"  # Hydra's, empty where a full disk or a kill left it so
    if (notes.exists() and not notes.is_file()) or (notes.is_file() and b"ssl_mnist" not in (notes.read_bytes() or b"ssl_mnist")):
        raise UserError(f"{notes} is there and not of a sweep of ssl_mnist; choose another hydra.sweep.dir")


def is_complete(folder: Path) -> bool:
    """Whether the run in a folder has its result: a summary that can be read, and the encoder; and came to its end, figures and all."""
    try:
        ended = read_json(folder / RUN).get("ended", "before there was such a key")
        return bool(ended) and "scores" in read_json(folder / SUMMARY) and zipfile.is_zipfile(folder / ENCODER)
    except (OSError, ValueError):
        return False


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
