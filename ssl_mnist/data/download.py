"""Where data sets lie, and how they get there: torchvision's own downloads, in a child process that cannot hang."""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from ssl_mnist.errors import UserError

log = logging.getLogger(__name__)

_allowed = ContextVar("allowed", default=True)  # whether anything may be downloaded
_failed: dict[tuple[str, str], str] = {}  # data set and folder -> why its download failed in this process: the next job does not wait again


class DataNotFound(UserError):
    """The files are not there and cannot be downloaded."""


def data_folder(root: str | None) -> Path:
    """The folder that `data.root` names: root, or, where that is None or empty, ssl_mnist in ~/.cache or $XDG_CACHE_HOME."""
    if root is not None and not isinstance(root, str | Path):
        raise UserError(f"data.root must be a text that names a folder, got {root!r}; a folder called {root} is data.root=./{root}")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(root or os.path.join(cache, "ssl_mnist")))


# Its standard input is a pipe that closes when the parent ends, however it ends; the child then removes its folder and ends too.
_CHILD = """
import os, shutil, sys, threading
folder = sys.argv[1]
def watch():
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
import torchvision
"""


def download(name: str, code: str, root: Path, patience: float = 30.0) -> None:
    """Run `code` in a child process, which is to fill `folder`, and move what it brought to `root`.

    name: of the data set, for messages. The child is stopped when nothing has arrived for `patience` seconds. It fills a temporary folder
    beside its destination, so that an incomplete download never looks complete. A download that failed is not tried again in this
    process. Raises DataNotFound.
    """
    missing, key = f"{name} is not under {root} (data.root, or the variable SSL_MNIST_DATA)", (name, os.path.abspath(root))
    if not _allowed.get():
        raise DataNotFound(missing)
    if key in _failed:
        raise DataNotFound(f"{missing} and could not be downloaded: {_failed[key]}, earlier in this process")
    parent = next(folder for folder in (root, *root.parents) if folder.is_dir())
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".mnist-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise DataNotFound(f"{missing} and cannot be downloaded to it: {error.strerror}") from error
    with scratch as folder, tempfile.TemporaryFile("w+", errors="replace") as errors:  # not a pipe, which progress bars would fill
        log.info("downloading %s to %s", name, root)
        command = [sys.executable, "-c", _CHILD + code, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as process:
            try:
                arrived, since = -1, time.monotonic()
                while process.poll() is None and time.monotonic() - since < patience:
                    time.sleep(0.1)
                    size = _size(Path(folder))
                    if size != arrived:
                        arrived, since = size, time.monotonic()
                silent = process.poll() is None
            finally:
                process.kill()  # does nothing where it has ended
        if process.returncode:
            errors.seek(0)
            reason = errors.read().strip().splitlines() or [f"the download ended with status {process.returncode}"]
            _failed[key] = f"nothing arrived for {patience:.0f} s" if silent else reason[-1]
            raise DataNotFound(f"{missing} and could not be downloaded: {_failed[key]}")
        _move(Path(folder), root)


@contextlib.contextmanager
def no_download() -> Iterator[None]:
    """In it, what is not there is not downloaded: DataNotFound."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def _move(source: Path, target: Path) -> None:
    """Move what was downloaded to its place, a folder at once where it is new; a file that is there is left alone."""
    for archive in [*source.rglob("*.gz"), *source.rglob("*.zip")]:  # unpacked already
        archive.unlink()
    target.mkdir(parents=True, exist_ok=True)
    for entry in list(source.iterdir()):
        if (target / entry.name).exists():
            _merge(entry, target / entry.name)
            continue
        try:
            entry.rename(target / entry.name)
        except OSError:  # another process was faster
            _merge(entry, target / entry.name)


def _merge(source: Path, target: Path) -> None:
    """Move each file below `source` to its place below `target`, unless one is there, plain or compressed."""
    for file in [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]:
        place = target / file.relative_to(source) if file != source else target
        if not place.exists() and not place.with_name(f"{place.name}.gz").exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)


def _size(folder: Path) -> int:
    """Bytes below a folder in which another process writes."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
