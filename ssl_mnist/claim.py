"""Whose a run's folder is: where a run is to be written, whether it is there already, and which process writes it.

Nothing is ever deleted: a folder that holds another run, or files that are not a run's, is refused.
"""

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ssl_mnist.errors import UserError
from ssl_mnist.files import (
    ALIVE,
    CHECKPOINTS,
    LOCK,
    RESULTS,
    RUN,
    atomic_write,
    is_complete,
    read_json,
    run_folders,
    sha256,
)

BEAT, DEAD = 20, 120  # seconds between two signs of life; after so many without one a run on another host counts as dead


class Busy(UserError):
    """Another process runs this job of the sweep."""


class Held:
    """A run's folder held by this process, as a context manager: its lock, and signs of life for hosts that do not see this one's locks.

    Raises UserError where another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = FileLock(folder / LOCK)
        self.ended = threading.Event()

    def __enter__(self) -> "Held":
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire(blocking=False)
        except Timeout:
            raise UserError(_is_written(self.folder)) from None
        self.beat = threading.Thread(target=self._beat, daemon=True)
        self.beat.start()
        return self

    def _beat(self) -> None:
        """The host's name, in a file whose time moves on."""
        path = self.folder / ALIVE
        while True:
            with contextlib.suppress(OSError):
                atomic_write(path, socket.gethostname())
            if self.ended.wait(BEAT):
                break
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def __exit__(self, *_: Any) -> None:
        self.ended.set()
        self.beat.join(10)  # a disk that does not answer keeps no run from ending
        self.lock.release()


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
    foreign = [name for name in RESULTS if (folder / name).exists() and not (folder / RUN).exists()]
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
