"""A run's folder: who writes it, what was run, what came of it.

`run.json` is written first and says everything that the run was made from; `summary.json` as soon as scores are known, and its presence
marks a complete run; `error.txt` where it failed. Whoever reads a run later reads these alone. Nothing is ever deleted: a folder that
holds another run, or files that are not a run's, is refused.
"""

import contextlib
import datetime
import hashlib
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
import traceback
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ssl_mnist.errors import UserError

RUN, SUMMARY, METRICS, ENCODER, ERROR, LOCK = "run.json", "summary.json", "metrics.jsonl", "encoder.pt", "error.txt", "run.lock"
CHECKPOINTS, ALIVE = "checkpoints", "run.alive"
BEAT, DEAD = 20, 120  # seconds between two signs of life; after so many without one a run on another host counts as dead
FORMAT = 1  # of run.json and summary.json


def atomic_write(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all."""
    _atomically(path, lambda scratch: scratch.write_bytes(data.encode() if isinstance(data, str) else data))


def atomic_save(content: Any, path: Path) -> None:
    """torch.save, whole or not at all."""
    import torch

    def write(scratch: Path) -> None:
        with scratch.open("wb") as file:
            torch.save(content, file)

    _atomically(path, write)


def _atomically(path: Path, write: Any) -> None:
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


class Record:
    """A run's folder while it is being written. Use as a context manager: leaving it by an exception writes error.txt.

    folder: as `claim` found it; content: of run.json.
    """

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder, self.content = folder, content
        self.lock = FileLock(folder / LOCK)
        self.ended = threading.Event()
        self.wandb_id: str | None = None  # of an earlier, unfinished try of this run

    def __enter__(self) -> "Record":
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire(blocking=False)
        except Timeout:
            raise UserError(_is_written(self.folder)) from None
        self.beat = threading.Thread(target=self._beat, daemon=True)
        self.beat.start()
        self.written = False
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # no earlier try of this run, or not a readable one
            before = read_json(self.folder / RUN)
            if before["identity"] == self.content["identity"]:
                self.content["sweep"] = self.content["sweep"] or before["sweep"]
                self.wandb_id = str(before["wandb"]["id"])
        return self

    def _beat(self) -> None:
        """Show hosts that do not see this one's locks that the run lives: the host's name, in a file whose time moves on."""
        path = self.folder / ALIVE
        while True:
            with contextlib.suppress(OSError):
                atomic_write(path, socket.gethostname())
            if self.ended.wait(BEAT):
                break
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def write_run(self, wandb: Mapping[str, Any] | None) -> None:
        """run.json; from here on the folder is this run's, and what an earlier, unfinished try of it left is gone on from or replaced."""
        self.content |= {"wandb": wandb}
        if fewer := self.content["identity_parts"].get("extends"):
            self._keep_summary(fewer)
        self._write()
        self.written = True
        for name in (SUMMARY, ERROR):
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
        self.content |= {"ended": _now()}
        self._write()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and self.written:  # a stop by the user leaves an unfinished run, not a failed one
            lines = "".join(traceback.format_exception(error))
            with contextlib.suppress(OSError):  # a full disk: the error itself is reported all the same
                atomic_write(self.folder / ERROR, f"{one_line(error)}\n\n{lines}")
                error.recorded_in = self.folder  # type: ignore[attr-defined]
        if isinstance(error, KeyboardInterrupt) and (self.folder / CHECKPOINTS).is_dir():
            error.folder = self.folder  # type: ignore[attr-defined]  # from which the run goes on
        self.ended.set()
        self.beat.join(10)  # a disk that does not answer keeps no run from ending
        self.lock.release()

    def log(self, metrics: Mapping[str, float]) -> None:
        """One row of metrics.jsonl."""
        with (self.folder / METRICS).open("a") as file:
            print(json.dumps(metrics), file=file)

    def metrics_bytes(self) -> int:
        """Length of metrics.jsonl, 0 where there is none."""
        path = self.folder / METRICS
        return path.stat().st_size if path.exists() else 0

    def sync_metrics(self) -> int:
        """Have metrics.jsonl on the disk itself; returns its length in bytes."""
        with (self.folder / METRICS).open("rb+") as file:
            os.fsync(file.fileno())
        return self.metrics_bytes()

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
        path = self.folder / "figures" / f"{name}.png"
        _atomically(path, lambda scratch: figure.savefig(scratch, format="png", dpi=120))
        return path

    def summary(self, summary: Mapping[str, Any]) -> None:
        """summary.json, which marks the run as complete."""
        atomic_write(self.folder / SUMMARY, json.dumps(summary, indent=2) + "\n")


def one_line(error: BaseException) -> str:
    """An exception in one line: a user's error by its words, any other with its type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def describe(settings: Mapping[str, Any], sweep: Path | None, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json holds from the start. identity: from `config.identity`."""
    return {
        "format": FORMAT,
        "command": shlex.join(["python", "-m", "ssl_mnist", *sys.argv[1:]]) if Path(sys.argv[0]).stem != "ipykernel_launcher" else "",
        "overrides": settings["overrides"],
        "sweep": None if sweep is None else sweep.resolve().name,
        "choices": settings["choices"],
        "settings": {key: value for key, value in settings.items() if key not in ("choices", "overrides")},
        **identity,
        "git": git_state(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "pid": os.getpid(),
        "started": _now(),
        "ended": None,
        "wandb": None,
    }


def _now() -> str:
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


class Busy(UserError):
    """Another process runs this job of the sweep."""


@contextlib.contextmanager
def claim(folder: Path, sweep: Path | None, identity: Mapping[str, Any], wait: bool = True) -> Iterator[tuple[Path, bool]]:
    """Where a run with this identity is to be written, and whether it is there already, complete; held until the context ends.

    In a sweep the run may be in any folder of it: a complete one is found, an unfinished one taken over, and a second process with the
    same identity waits for the first, or, without `wait`, raises Busy. Raises UserError where `folder` holds another run (outside a
    sweep), or files that are not a run's.
    """
    if sweep is None:
        yield _place(folder, None, identity)
        return
    locks = sweep / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{identity['identity']}.lock")
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        raise Busy("another process runs this job") from None
    try:
        while any(map(_is_alive_elsewhere, (folder, *_same(run_folders(sweep), identity)))):
            if not wait:
                raise Busy("another host runs this job")
            time.sleep(5)
        yield _place(folder, sweep, identity)
    finally:
        lock.release()


def _same(folders: Iterable[Path], identity: Mapping[str, Any]) -> Iterator[Path]:
    """Those that hold a run with an identity."""
    for other in folders:
        with contextlib.suppress(OSError, ValueError):
            if read_json(other / RUN).get("identity") == identity["identity"]:
                yield other


def _is_alive_elsewhere(folder: Path) -> bool:
    """Whether another host writes the run in a folder, by its signs of life; the hosts' clocks have to agree within a minute."""
    try:
        return (folder / ALIVE).read_text() not in ("", socket.gethostname()) and time.time() - (folder / ALIVE).stat().st_mtime < DEAD
    except (OSError, ValueError):
        return False


def _is_written(folder: Path) -> str:
    return f"{folder} is being written by another process; choose another hydra.run.dir or wait for it"


def _place(folder: Path, sweep: Path | None, identity: Mapping[str, Any]) -> tuple[Path, bool]:
    unfinished = None
    for other in _same(run_folders(sweep) if sweep else [folder], identity):
        if is_complete(other):
            return other, True
        if unfinished is None and not is_locked(other):
            unfinished = other
    if unfinished is not None:
        return unfinished, False
    if sweep is None and is_locked(folder):
        raise UserError(_is_written(folder))
    if (folder / RUN).exists():
        if sweep is None and "extends" in identity["identity_parts"]:
            return folder, False
        if sweep is None:
            raise UserError(f"{folder} holds another run ({difference(folder, identity)}); choose another hydra.run.dir")
        folder = folder.with_name(f"{folder.name}-{identity['identity'][:8]}")
    foreign = [name for name in (SUMMARY, METRICS, ENCODER, ERROR) if (folder / name).exists() and not (folder / RUN).exists()]
    foreign += [f"figures/{path.name}" for path in (folder / "figures").glob("*.png") if not (folder / RUN).exists()]
    if foreign:
        raise UserError(f"{folder / foreign[0]} is there and not of a run of ssl_mnist; choose another hydra.run.dir (hydra.sweep.dir)")
    return folder, False


def extended(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The identity, and where `folder` holds the same run with fewer epochs and a checkpoint of it, that of a run which goes on from there.

    Such a run is another one than that of as many epochs from the beginning, since its learning rate had another course: its parts hold
    `extends`, the identity of the shorter run and its epochs.
    """
    wanted, epochs = identity["identity_parts"], "pretrain.epochs"
    try:
        before = read_json(folder / RUN)
        parts = before["identity_parts"]
        num, wanted_num = parts["settings"][epochs], wanted["settings"][epochs]
        like_ours = {key: value for key, value in parts.items() if key != "extends"} | {
            "settings": {**parts["settings"], epochs: wanted_num}
        }
        if like_ours == wanted and num < wanted_num and is_complete(folder) and any((folder / CHECKPOINTS).glob("*.pt")):
            fewer = {"identity": before["identity"], "epochs": num}
        elif like_ours == wanted and num == wanted_num:  # this very run, finished or not
            fewer = parts["extends"]
        else:
            return dict(identity)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no run, not a readable one, or not an extended one
        return dict(identity)
    parts = {**wanted, "extends": fewer}
    return {**identity, "identity": sha256(json.dumps(parts, sort_keys=True).encode())[:16], "identity_parts": parts}


def is_locked(folder: Path) -> bool:
    """Whether a live process writes the run in a folder."""
    if _is_alive_elsewhere(folder):
        return True
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number on this host, and it has not ended."""
    try:
        os.kill(pid, 0)
        return not re.search(r"^State:\tZ", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)  # ended, and not yet waited for
    except ProcessLookupError:
        return False
    except OSError:  # of another user, or a system without /proc
        return True


def difference(folder: Path, identity: Mapping[str, Any]) -> str:
    """What differs between the run in a folder and another identity, in words."""
    try:
        before = read_json(folder / RUN)["identity_parts"]
        return parts_difference(before, identity["identity_parts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "its run.json cannot be read"


def parts_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first few things that tell two identities apart, such as `seed 0 -> 7, code of methods/simclr.py`."""
    found = []
    for part in now:
        old, new = before.get(part), now[part]
        if isinstance(new, dict) and isinstance(old, dict):
            for key in dict.fromkeys([*old, *new]):
                if old.get(key) != new.get(key):
                    label = {"code": f"code of {key}", "versions": f"{key} {old.get(key)} -> {new.get(key)}"}
                    found.append(label.get(part, f"{key} {old.get(key)} -> {new.get(key)}"))
        elif old != new:
            found.append(f"{part} {old} -> {new}")
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "") or "nothing that is recorded"


def superseded(sweep: Path, overrides: list[str], identity: Mapping[str, Any]) -> str | None:
    """Why a complete run with the same overrides in a sweep is made again: what differs; None where there is none."""
    for other in run_folders(sweep):
        try:
            content = read_json(other / RUN)
            if sorted(content["overrides"]) == sorted(overrides) and content["identity"] != identity["identity"] and is_complete(other):
                return f"{other.name} differs: {parts_difference(content['identity_parts'], identity['identity_parts'])}"
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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
