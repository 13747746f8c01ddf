"""A user's own images: a folder of files, decoded once to one size and kept in the cache.

Layouts: class folders (`cat/1.jpg`), images alone (no labels), and either of them below `train`, `val` and `test`. What these names
leave open is split off the training images, stratified by class, always the same way.

The cache of a folder holds `images-<key>.u8`, uint8 images (C, H, W) of train, val and test one after the other, and `index-<key>.json`,
written last. The key is made from the paths, sizes and times of the files and from the settings that change a pixel or a split.
"""

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock

from ssl_mnist.console import progress_bar, say
from ssl_mnist.data import decode
from ssl_mnist.data.spec import Dataset, KnownSpec, Split, fingerprint
from ssl_mnist.data.splits import check_shares, three_parts
from ssl_mnist.data.stored import Stored
from ssl_mnist.errors import UserError
from ssl_mnist.files import atomic_write, read_json, sha256

log = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm"}
PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}  # names of folders
NAMED = 5  # files named in a warning
ALLOWED_BROKEN = 0.01
FORMAT = 1  # of the cache
CHUNK = 64  # images that a decoding process reports together


class Listing(NamedTuple):
    """What a folder holds."""

    files: list[str]  # images, relative to the folder, in order
    part: list[str | None]  # of each file, "train", "val" or "test", where the folders say
    label: list[str | None]  # of each file, the name of its class
    stats: list[tuple[int, int]]  # size in bytes and time of change in ns
    foreign: list[str]  # files that are no images by their names, or lie beside the class folders


def image_folder(
    root: str,
    size: int | list[int],
    channels: int,
    resize: str,
    val: float,
    test: float,
    allow_broken: bool,
    cache: str | None,
    device_limit_gb: float,
    spec: KnownSpec,
    device: torch.device,
) -> Dataset:
    """The images below `root`, decoded to `size` pixels (a side, or [height, width]) and 1 or 3 `channels`.

    resize: squash, crop or pad, where the aspect ratio differs; val, test: shares of the parts that no folder names; allow_broken: go on
    where more than 1 % of the files cannot be decoded; cache: a folder for the decoded images, None for the user's cache; device_limit_gb:
    images of up to so many GB lie on the device, larger ones are read from the cache batch by batch. Raises UserError in one line.
    """
    sides = size if isinstance(size, list) else [size, size]
    if len(sides) != 2 or not all(decode.SMALLEST <= side <= 1024 for side in sides):
        raise UserError(f"data.size must be a whole number of pixels in {decode.SMALLEST}..1,024, or [height, width], got {size}")
    height, width = sides
    if channels not in (1, 3):
        raise UserError(f"data.channels must be 1 (grey) or 3 (RGB), got {channels}")
    if resize not in ("squash", "crop", "pad"):
        raise UserError(f"data.resize must be squash, crop or pad, got {resize}")
    check_shares(val, test)
    folder = Path(root).expanduser()
    listing = _list(folder)
    what = {"size": [height, width], "channels": channels, "resize": resize, "val": val, "test": test, "format": FORMAT}
    key = hashlib.sha256(json.dumps([what, listing]).encode()).hexdigest()[:16]
    home = Path(cache).expanduser() if cache else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ssl_mnist" / "folders"
    place = home / hashlib.sha256(f"{os.path.realpath(folder)}/{what}".encode()).hexdigest()[:16]
    try:
        if (index := _cached(place, key)) is None:
            place.mkdir(parents=True, exist_ok=True)
            with FileLock(place / "lock"):  # two runs that want the same images: one decodes them
                index = _cached(place, key) or _decode(place, key, folder, listing, what)
    except OSError as error:
        raise UserError(
            f"the decoded images cannot be kept in {place}: {error.strerror or error}; name a folder that takes them as data.cache"
        ) from error
    _report(folder, index, allow_broken)
    classes: list[str] | None = index["classes"]
    shape = (sum(index["sizes"]), channels, height, width)
    stored: Any = Stored(place / f"images-{key}.u8", shape, device)
    labels = None if classes is None else torch.tensor(index["labels"], device=device)
    if stored.shape.numel() <= device_limit_gb * 1e9:
        stored = stored[:]
    splits, start = [], 0
    for num in index["sizes"]:
        part = stored.part(start, start + num) if isinstance(stored, Stored) else stored[start : start + num]
        splits.append(Split(part, None if labels is None else labels[start : start + num]))
        start += num
    train, val_part, test_part = splits
    found = KnownSpec(**{**vars(spec), "mean": spec.mean or index["mean"], "std": spec.std or index["std"]}).complete(train.images, classes)
    return Dataset(folder.resolve().name, found, train, val_part, lambda: test_part, index["fingerprint"], note=index["note"])


def _list(folder: Path) -> Listing:
    """Raises UserError where there is no image."""
    if not folder.is_dir():
        raise UserError(f"{folder} (data.root) is {'a file' if folder.exists() else 'not there'}; name a folder of images")
    found = list(_walk(folder))
    tops = {name.partition("/")[0] for name, _, image in found if image and "/" in name}
    named = {top: part for part, names in PARTS.items() for top in tops if top.lower() in names}
    by_parts = "train" in named.values() and set(tops) <= set(named)
    if by_parts and len(set(named.values())) < len(named):
        raise UserError(f"{folder} (data.root) holds a part twice, as {' and '.join(sorted(named))}")
    inner = [(name.partition("/")[2] if by_parts else name, name, stats, image) for name, stats, image in found]
    with_classes = any(image and "/" in below for below, _, _, image in inner)
    files, part, label, all_stats, foreign = [], [], [], [], []
    for below, name, stats, image in inner:
        if not image or (with_classes and "/" not in below) or (by_parts and not below):
            foreign.append(name)
            continue
        files.append(name)
        part.append(named[name.partition("/")[0]] if by_parts else None)
        label.append(below.partition("/")[0] if with_classes else None)
        all_stats.append(stats)
    if not files:
        raise UserError(f"{folder} (data.root) holds {_count(len(foreign), 'file')} and no image ({', '.join(sorted(SUFFIXES))})")
    return Listing(files, part, label, all_stats, foreign)


def _walk(folder: Path) -> Iterator[tuple[str, tuple[int, int], bool]]:
    """Files below a folder in order, hidden ones left out: relative path, size and time of change, and whether the name is an image's."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(place, folder).replace(os.sep, "/")
        for name in sorted(names):
            if name.startswith("."):
                continue
            with contextlib.suppress(FileNotFoundError):  # a link to nowhere
                status = os.stat(os.path.join(place, name))
                path = name if below == "." else f"{below}/{name}"
                yield path, (status.st_size, status.st_mtime_ns), os.path.splitext(name)[1].lower() in SUFFIXES


def _cached(place: Path, key: str) -> dict[str, Any] | None:
    """The index, where it and the images are whole."""
    try:
        index = read_json(place / f"index-{key}.json")
        checksum = index.pop("sha256")
        size = (place / f"images-{key}.u8").stat().st_size
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return index if checksum == sha256(json.dumps(index).encode()) and size == index["bytes"] else None


def _decode(place: Path, key: str, folder: Path, listing: Listing, what: dict[str, Any]) -> dict[str, Any]:
    """Decode all images into the cache; returns the index."""
    classes, labels, parts, note = _split(folder, listing, what)
    order = np.concatenate(parts)
    height, width = what["size"]
    row_bytes = what["channels"] * height * width
    scratch = place / f"decoding-{os.getpid()}.u8"
    try:
        with open(scratch, "wb") as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is noticed now
                os.posix_fallocate(file.fileno(), 0, len(order) * row_bytes)
            else:
                file.truncate(len(order) * row_bytes)
        problems = _run_workers(scratch, folder.resolve(), [listing.files[i] for i in order], what)
        good = np.array([problem is None for problem in problems])
        broken = {listing.files[i]: problem for i, problem in zip(order, problems, strict=True) if problem is not None}
        if not good.any():
            name, problem = next(iter(broken.items()))
            raise UserError(f"{folder} (data.root): none of {_count(len(broken), 'image')} can be decoded; {name}: {problem}")
        _close_gaps(scratch, good, row_bytes)
        bounds = np.cumsum([0, *map(len, parts)])
        sizes = [int(good[a:b].sum()) for a, b in pairwise(bounds)]
        if min(sizes) == 0:
            raise UserError(f"{folder} (data.root) holds {_count(int(good.sum()), 'image')}, too few for train, val and test")
        kept = order[good]
        images = Stored(scratch, (len(kept), what["channels"], height, width), torch.device("cpu"))
        known = KnownSpec(None, None, None, None, None, classes, []).complete(images.part(0, sizes[0]), None)
        numbers = None if labels is None else labels[kept]
        content = fingerprint(images, *([] if numbers is None else [torch.from_numpy(numbers)]))
        index = {
            "root": str(folder.resolve()),
            "settings": what,
            "bytes": len(kept) * row_bytes,
            "sizes": sizes,
            "classes": classes,
            "labels": None if numbers is None else numbers.tolist(),
            "mean": known.mean,
            "std": known.std,
            "fingerprint": content,
            "note": note,
            "broken": broken,
            "foreign": listing.foreign,
        }
        os.replace(scratch, place / f"images-{key}.u8")
        atomic_write(place / f"index-{key}.json", json.dumps(index | {"sha256": sha256(json.dumps(index).encode())}))
    finally:
        scratch.unlink(missing_ok=True)
    for old in [*place.glob("images-*.u8"), *place.glob("index-*.json")]:  # of the folder as it was; a run that reads one keeps it open
        if key not in old.name:
            old.unlink(missing_ok=True)
    return index


def _split(folder: Path, listing: Listing, what: dict[str, Any]) -> tuple[list[str] | None, np.ndarray | None, list[np.ndarray], str]:
    """Names of the classes, a label for each file, positions of the files of train, val and test, and what is said of the split."""
    classes, labels = None, None
    if listing.label[0] is not None:
        classes = sorted({label for label in listing.label if label is not None})
        if len(classes) < 2:
            raise UserError(
                f"{folder} (data.root) holds one class, {classes[0]}; two are needed, or the images without class folders, for no labels"
            )
        labels = np.array([classes.index(label) for label in listing.label if label is not None])
        if min(counts := np.bincount(labels)) < 3:
            few = classes[int(counts.argmin())]
            raise UserError(
                f"{folder} (data.root): class {few} has {_count(int(min(counts)), 'image')}; 3 are needed, for train, val and test"
            )
    given = {part: np.array([i for i, its in enumerate(listing.part) if its == part], dtype=int) for part in PARTS}
    missing = [part for part in ("val", "test") if not len(given[part])]
    pool = given["train"] if listing.part[0] is not None else np.arange(len(listing.files))
    shares = (what["val"] if "val" in missing else 0.0, what["test"] if "test" in missing else 0.0)
    train, val, test = (pool[part] for part in three_parts(None if labels is None else labels[pool], len(pool), shares))
    how = "at random" if labels is None else "stratified by class"
    note = f"{' and '.join(missing)} split off the training images, {how}" if missing else "train, val and test as the folders say"
    return classes, labels, [train, given["val"] if len(given["val"]) else val, given["test"] if len(given["test"]) else test], note


def _run_workers(target: Path, folder: Path, names: Sequence[str], what: dict[str, Any]) -> list[str | None]:
    """Decode the images of a folder into rows of `target`, on all cores that this process may use; returns why each failed, or None."""
    chunks = [(first, names[first : first + CHUNK]) for first in range(0, len(names), CHUNK)]
    num = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, len(chunks))
    say(f"data    decoding {len(names):,} images, once; {num} processes")
    task = {key: what[key] for key in ("size", "channels", "resize")} | {"target": str(target), "folder": str(folder)}
    problems: list[str | None] = []
    workers = []
    try:
        for first in range(num):
            command = [sys.executable, "-I", decode.__file__]
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            workers.append(worker)
            assert worker.stdin
            worker.stdin.write(json.dumps(task | {"chunks": chunks[first::num]}))
            worker.stdin.close()
        with progress_bar(len(names), "image") as advance:
            for chunk in range(len(chunks)):  # the workers go at about the same speed; a pipe holds what the others are ahead
                stdout = workers[chunk % num].stdout
                assert stdout
                line = stdout.readline()
                if not line:
                    raise OSError(28, "a decoding process ended early; is the disk full?", str(target))
                problems += json.loads(line)
                advance(len(chunks[chunk][1]))
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            assert worker.stdout
            worker.stdout.close()
    return problems


def _close_gaps(path: Path, good: np.ndarray, row_bytes: int) -> None:
    """Remove the rows that are not good from a file of rows."""
    if good.all():
        return
    with open(path, "r+b") as file:
        for row, source in enumerate(np.flatnonzero(good).tolist()):
            if row != source:
                file.seek(source * row_bytes)
                content = file.read(row_bytes)
                file.seek(row * row_bytes)
                file.write(content)
        file.truncate(int(good.sum()) * row_bytes)


def _report(folder: Path, index: dict[str, Any], allow_broken: bool) -> None:
    """Say which files were left out. Raises UserError where too many are broken."""
    broken, foreign = index["broken"], index["foreign"]
    if foreign:
        say(f"        left out, not images of a class: {_count(len(foreign), 'file')}, {_some(foreign)}")
    if not broken:
        return
    total = len(broken) + sum(index["sizes"])
    text = f"{_count(len(broken), 'image')} of {total:,} cannot be decoded: {_some([f'{name} ({why})' for name, why in broken.items()])}"
    if len(broken) > ALLOWED_BROKEN * total and not allow_broken:
        raise UserError(f"{folder} (data.root): {text}; data.allow_broken=true goes on without them")
    log.warning("WARNING %s; left out", text)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _count(num: int, noun: str) -> str:
    return f"{num:,} {noun}{'s' * (num != 1)}"
