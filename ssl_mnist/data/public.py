"""Public data sets, through torchvision's own classes, which also download them: found, read, split and recognised."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor

from ssl_mnist.data.download import DataNotFound, data_folder, download
from ssl_mnist.data.spec import Dataset, KnownSpec, Split, fingerprint
from ssl_mnist.data.splits import stratified
from ssl_mnist.errors import UserError

log = logging.getLogger(__name__)


def public(
    dataset: str,
    train: dict[str, Any],
    test: dict[str, Any],
    unlabelled: dict[str, Any] | None,
    root: str | None,
    num_val: int,
    transpose: bool,
    known: str | None,
    spec: KnownSpec,
    device: torch.device,
) -> Dataset:
    """torchvision.datasets.<dataset>: its training part, less `num_val` images for val, and its test part.

    train, test, unlabelled: arguments of the class that name a part, such as {"train": true} or {"split": "train"}; root: the folder
    that holds what the class downloads, or a folder above it; None is ~/.cache/ssl_mnist; transpose: swap rows and columns; known: the
    fingerprint of the original content, where one is on record. Raises DataNotFound where the files neither are there nor can be
    downloaded, UserError where they are damaged.
    """
    parts = {"train": train, "test": test} | ({"unlabelled": unlabelled} if unlabelled else {})
    place, loaded = _load(dataset, parts, root)
    found = {name: _read(part, transpose) for name, part in loaded.items()}
    del loaded
    (images, labels, classes), (test_images, test_labels, _) = found["train"], found["test"]
    if not 10 <= num_val < len(labels):
        raise UserError(f"data.num_val must be between 10 and {len(labels) - 1:,}, got {num_val}")
    extra = found["unlabelled"][0] if unlabelled else None
    content = fingerprint(images, labels, test_images, test_labels, *([] if extra is None else [extra]))
    name = dataset.lower()
    if known and content != known:
        name = f"{name}-format"
        log.warning(
            "WARNING  The files in %s have %s's form and other content (fingerprint %s): data/source is %s, and these scores must not be "
            "reported as %s's.",
            place,
            dataset,
            content,
            name,
            dataset,
        )
    rest, val = stratified(labels, num_val)
    full = spec.complete(images[rest], classes)
    return Dataset(
        name,
        full,
        Split(images[rest].to(device), labels[rest].to(device)),
        Split(images[val].to(device), labels[val].to(device)),
        read_test=lambda: Split(test_images.to(device), test_labels.to(device)),
        fingerprint=content,
        unlabelled=None if extra is None else extra.to(device),
    )


def _load(dataset: str, parts: dict[str, dict[str, Any]], root: str | None) -> tuple[Path, dict[str, Any]]:
    """The folder that the class takes as its root, and an object of the class for each part; downloaded where that is allowed."""
    folder, option = data_folder(root), "data.root, or the variable SSL_MNIST_DATA"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} ({option}) is a file; name a folder that holds {dataset}")
    for place in [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]:
        if found := _objects(dataset, parts, place):
            return place, found
    if folder != data_folder(None) and folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise DataNotFound(
            f"there is no intact {dataset} in {folder} ({option}), as torchvision.datasets.{dataset} stores it; name the folder that holds "
            "it, or an empty folder, and it is downloaded to it"
        )
    code = [f"torchvision.datasets.{dataset}(folder, download=True, **{arguments!r})" for arguments in parts.values()]
    download(dataset, "\n".join(code), folder)
    found = _objects(dataset, parts, folder)
    if found is None:
        raise UserError(f"{dataset} in {folder} ({option}) is damaged; remove its files, and it is downloaded again")
    return folder, found


def _objects(dataset: str, parts: dict[str, dict[str, Any]], place: Path) -> dict[str, Any] | None:
    """An object of the class for each part, or None where the class does not find its files, or finds them damaged, below `place`."""
    kind = getattr(torchvision.datasets, dataset, None)
    if not isinstance(kind, type):
        raise UserError(f"data.dataset must be a class of torchvision.datasets, got {dataset}")
    try:
        return {name: kind(str(place), download=False, **arguments) for name, arguments in parts.items()}
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever a damaged file makes the class say
        if isinstance(error, RuntimeError) and "not found" in str(error):
            return None
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{dataset} in {place} (data.root) is damaged: {text}; remove its files, and it is downloaded again") from error


def _read(part: Any, transpose: bool) -> tuple[Tensor, Tensor, list[str] | None]:
    """Images (N, C, H, W) uint8, labels (N,) and, where the class has them, names of the classes. transpose: swap rows and columns."""
    images = torch.as_tensor(np.asarray(part.data))
    if images.ndim == 3:
        images = images.unsqueeze(1)
    elif images.shape[1] not in (1, 3):
        images = images.permute(0, 3, 1, 2)
    labels = torch.as_tensor(np.asarray(part.targets if hasattr(part, "targets") else part.labels)).long()
    if labels.ndim == 2:  # QMNIST has more about each digit than its class
        labels = labels[:, 0]
    classes = getattr(part, "classes", None)
    return (images.mT if transpose else images).contiguous(), labels, list(classes) if classes else None
