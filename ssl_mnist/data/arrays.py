"""A user's own arrays: one .npz file with `images` and, where there are any, `labels`."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from ssl_mnist.data.convert import check_values
from ssl_mnist.data.spec import Dataset, KnownSpec, Split, fingerprint
from ssl_mnist.data.splits import check_shares, three_parts
from ssl_mnist.errors import UserError

MAX_CHANNELS = 16


def arrays(path: str, val: float, test: float, spec: KnownSpec, device: torch.device) -> Dataset:
    """The images of an .npz file, split in three.

    `images`: (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or float in [0, 1]; `labels`, optional: (N,) whole numbers or texts.
    val, test: the shares of these parts, stratified by label. Raises UserError for anything else.
    """
    check_shares(val, test)
    file = Path(path).expanduser()
    images, labels, classes = _read(file)
    parts = three_parts(labels, len(images), (val, test))
    if min(map(len, parts)) == 0:
        raise UserError(f"{file} (data.path) holds {len(images)} images, too few to split in train, val and test")
    content = fingerprint(torch.from_numpy(images), *([] if labels is None else [torch.from_numpy(labels)]))
    train, val_part, test_part = (
        Split(torch.from_numpy(images[part]).to(device), None if labels is None else torch.from_numpy(labels[part]).to(device))
        for part in parts
    )
    how = "at random" if classes is None else "stratified by class"
    known = spec.complete(train.images, classes)
    return Dataset(file.stem, known, train, val_part, lambda: test_part, content, note=f"split in three, {how}")


def _read(file: Path) -> tuple[np.ndarray, np.ndarray | None, list[str] | None]:
    """Images (N, C, H, W) uint8, labels (N,) int64 and the names of the classes."""
    if not file.is_file():
        raise UserError(f"there is no file {file} (data.path); name an .npz file with images and, if there are any, labels")
    try:
        with np.load(file, allow_pickle=False) as content:
            if isinstance(content, np.ndarray):
                raise UserError(f"{file} (data.path) holds one array; save it as numpy.savez(path, images=..., labels=...)")
            names = list(content)
            if "images" not in names:
                raise UserError(f"{file} (data.path) holds {', '.join(names) or 'nothing'} and no images; the name must be images")
            images, labels = content["images"], content["labels"] if "labels" in names else None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        why = str(error).splitlines()[0]
        if "allow_pickle" in why or "pickled" in why:  # numpy's advice to load it unsafely, also for a file that is a text
            why = "it is another kind of file, or holds Python objects"
        raise UserError(
            f"{file} (data.path) cannot be read as an .npz file: {why}; numpy.savez(path, images=..., labels=...) makes one"
        ) from error
    if not images.size:
        raise UserError(f"{file} (data.path) holds no image")
    images = _channels_first(_bytes(images, file), file)
    if labels is None:
        return images, None, None
    if labels.shape != (len(images),):
        shape = " x ".join(map(str, labels.shape))
        raise UserError(f"{file} (data.path) holds {len(images):,} images and labels of the shape {shape}; one label an image is needed")
    if labels.dtype.kind not in "iuUSb":
        raise UserError(f"{file} (data.path): labels must be whole numbers or texts, got {labels.dtype}")
    if labels.dtype.kind == "S":
        labels = labels.astype(str)
    found, numbers = np.unique(labels, return_inverse=True)
    if len(found) < 2:
        raise UserError(f"{file} (data.path): all labels are {found[0]}; two classes are needed, or no labels")
    return images, numbers.astype(np.int64), [str(name) for name in found]


def _bytes(images: np.ndarray, file: Path) -> np.ndarray:
    """uint8."""
    try:
        check_values(images)
    except ValueError as error:
        raise UserError(f"{file} (data.path): images {error}") from None
    return images if images.dtype == np.uint8 else (images * 255).round().astype(np.uint8)


def _channels_first(images: np.ndarray, file: Path) -> np.ndarray:
    """(N, C, H, W)."""
    shape = " x ".join(map(str, images.shape))
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim != 4:
        raise UserError(f"{file} (data.path): images must be (N, H, W), (N, H, W, C) or (N, C, H, W), got {shape}")
    elif images.shape[3] <= MAX_CHANNELS < images.shape[1]:
        images = images.transpose(0, 3, 1, 2)
    elif not images.shape[1] <= MAX_CHANNELS < images.shape[3]:
        raise UserError(f"{file} (data.path): which of {shape} are the channels cannot be told; they must be the only size of 16 or less")
    if min(images.shape[2:]) < 8:
        raise UserError(f"{file} (data.path): images must have 8 pixels a side or more, got {shape}")
    return np.ascontiguousarray(images)
