"""What a data set is: the facts about its images (`ImageSpec`), its splits, and a fingerprint of its content.

Shapes: N images, C channels, H and W image size.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_mnist.errors import UserError


@dataclass(frozen=True)
class ImageSpec:
    """What encoders, augmentations, figures and pages know of the images. Raises UserError for impossible values.

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
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise UserError(f"data.spec.{name} must be a whole number in {low}..{high}, got {value!r}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not _is_list_of(values, int, float) or len(values) != self.channels or not all(map(math.isfinite, values)):
                what = "a list of one finite number" if self.channels == 1 else f"a list of {self.channels} finite numbers, one a channel"
                raise UserError(f"data.spec.{name} must be {what}, got {values!r}")
        if min(self.std) <= 0:
            raise UserError(f"data.spec.std must be above 0, got {self.std}")
        classes = self.classes
        if not (_is_list_of(classes, str) and len(classes) >= 2 and len(set(classes)) == len(classes)):
            raise UserError(f"data.spec.classes must be a list of at least 2 different texts, got {classes!r}")
        if not _is_list_of(self.label_changing, str):
            raise UserError(f"data.spec.label_changing must be a list of augmentations' class names, got {self.label_changing!r}")


def _is_list_of(values: Any, *types: type) -> bool:
    return isinstance(values, list) and all(type(value) in types for value in values)


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


def fingerprint(*tensors: Tensor) -> str:
    """The first 16 hex digits of a sha256 over the shapes and bytes of images and labels."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def check_content(spec: ImageSpec, where: str, images: Tensor, labels: Tensor) -> None:
    """Raises UserError where images (N, C, H, W) or labels (N,) do not agree with the spec. where: what the message begins with."""
    found, expected = tuple(images.shape[1:]), (spec.channels, spec.height, spec.width)
    if found != expected:
        shapes = [" x ".join(map(str, shape)) for shape in (found, expected)]
        raise UserError(f"{where} holds images of {shapes[0]} (channels x height x width), data.spec says {shapes[1]}")
    if len(images) != len(labels):
        raise UserError(f"{where} holds {len(images):,} images and {len(labels):,} labels")
    wrong = labels[(labels < 0) | (labels >= len(spec.classes))]
    if len(wrong):
        names = f"data.spec.classes names {len(spec.classes)} classes, labels 0 to {len(spec.classes) - 1}"
        raise UserError(f"{where} holds the label {int(wrong[0])}; {names}")
