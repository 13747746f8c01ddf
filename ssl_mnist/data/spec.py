"""What a data set is: the facts about its images (`ImageSpec`), its splits, and a fingerprint of its content.

Shapes: N images, C channels, H and W image size.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_mnist.errors import UserError


@dataclass(frozen=True)
class ImageSpec:
    """What encoders, augmentations, figures and pages know of the images. Raises UserError for what cannot be.

    mean, std: of all training pixels, one number a channel, white = 1; classes: names by label;
    label_changing: classes of augmentations after which an image may have another label, or none.
    """

    channels: int
    height: int  # pixels
    width: int
    mean: list[float]
    std: list[float]
    classes: list[str]
    label_changing: list[str]

    def __post_init__(self) -> None:
        for name, low, high in (("channels", 1, 16), ("height", 4, 1024), ("width", 4, 1024)):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"data.spec.{name} must be in {low}..{high}, got {getattr(self, name)}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != self.channels or not all(map(math.isfinite, values)):
                raise UserError(f"data.spec.{name} must hold one finite number for each of the {self.channels} channels, got {values}")
        if min(self.std) <= 0:
            raise UserError(f"data.spec.std must be above 0, got {self.std}")
        if len(self.classes) < 2:
            raise UserError(f"data.spec.classes must name at least 2 classes, got {self.classes}")


@dataclass(frozen=True)
class Split:
    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """read_test: reads the test split; called once a run, after the last choice; note: what a reader of its scores has to know."""

    name: str
    spec: ImageSpec
    train: Split
    val: Split
    read_test: Callable[[], Split]
    fingerprint: str  # of the content of all splits
    note: str | None = None


def as_float(images: Tensor) -> Tensor:
    """(N, C, H, W) uint8 in 0..255 -> float32 in [0, 1], channels last where that is faster."""
    floats = images.float().div_(255)
    return floats.contiguous(memory_format=torch.channels_last) if images.device.type in ("cpu", "cuda") else floats


def fingerprint(*arrays: Tensor) -> str:
    """16 hex digits that tell the content of images and labels: a sha256 over shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(tuple(array.shape)).encode())
        digest.update(array.cpu().contiguous().to(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def check_content(spec: ImageSpec, where: str, images: Tensor, labels: Tensor) -> None:
    """Raises UserError where images or labels do not agree with the spec."""
    expected = (spec.channels, spec.height, spec.width)
    if tuple(images.shape[1:]) != expected:
        shapes = [" x ".join(map(str, shape)) for shape in (images.shape[1:], expected)]
        raise UserError(f"{where} holds images of {shapes[0]} (channels x height x width), data.spec says {shapes[1]}")
    if len(images) != len(labels):
        raise UserError(f"{where} holds {len(images):,} images and {len(labels):,} labels")
    num_classes = len(spec.classes)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        bad = int(labels.min()) if labels.min() < 0 else int(labels.max())
        raise UserError(f"{where} holds the label {bad}; data.spec.classes names {num_classes}, labels 0..{num_classes - 1}")
