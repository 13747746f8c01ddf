"""What a data set is: the facts about its images (`ImageSpec`), its splits, and a fingerprint of its content.

Shapes: N images, C channels, H and W image size.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ssl_mnist.data.stored import Images, chunks
from ssl_mnist.errors import UserError


@dataclass(frozen=True)
class ImageSpec:
    """What encoders, augmentations, figures and pages know of the images. Raises UserError for impossible values.

    mean, std: of all training pixels, one number a channel, white = 1; classes: names by label, None where there are no labels;
    label_changing: classes of augmentations after which an image may have another label, or none.
    """

    channels: int
    height: int  # pixels
    width: int
    mean: list[float]
    std: list[float]
    classes: list[str] | None
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
        if classes is not None and not (_is_list_of(classes, str) and len(classes) >= 2 and len(set(classes)) == len(classes)):
            raise UserError(f"data.spec.classes must be a list of at least 2 different texts, got {classes!r}")
        if not _is_list_of(self.label_changing, str):
            raise UserError(f"data.spec.label_changing must be a list of augmentations' class names, got {self.label_changing!r}")


def _is_list_of(values: Any, *types: type) -> bool:
    return isinstance(values, list) and all(type(value) in types for value in values)


@dataclass(frozen=True)
class KnownSpec:
    """What a data set's YAML file says of its images; what is None, the data says once it is read."""

    channels: int | None
    height: int | None
    width: int | None
    mean: list[float] | None
    std: list[float] | None
    classes: list[str] | None
    label_changing: list[str]

    def complete(self, images: Images, classes: list[str] | None) -> ImageSpec:
        """The spec of train's images (N, C, H, W), whose mean and standard deviation are measured where they are not known."""
        _, channels, height, width = images.shape
        for name, found in (("channels", channels), ("height", height), ("width", width)):
            if getattr(self, name) not in (None, found):
                raise UserError(f"data.spec.{name} is {getattr(self, name)}, the images have {found}")
        mean, std = self.mean, self.std
        if mean is None or std is None:
            measured = channel_statistics(images)
            mean, std = mean or measured[0], std or measured[1]
        return ImageSpec(channels, height, width, mean, std, self.classes or classes, self.label_changing)


def channel_statistics(images: Images) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of images (N, C, H, W), white = 1; a constant channel has a deviation of 1."""
    counts = torch.zeros(images.shape[1], 256, dtype=torch.float64)
    for batch in chunks(images, 1000):
        counts += torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in batch.cpu().transpose(0, 1)])
    values = torch.arange(256, dtype=torch.float64) / 255
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ values
    std = ((shares * (values - mean[:, None]) ** 2).sum(1)).sqrt()
    return [round(x, 4) for x in mean.tolist()], [round(x, 4) if x >= 1e-4 else 1.0 for x in std.tolist()]


@dataclass(frozen=True)
class Split:
    images: Images  # (N, C, H, W) uint8
    labels: Tensor | None  # (N,) int64; None where the data set has no labels

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """read_test: reads the test split; called once a run, after the last choice; note: what a reader of its scores has to know.

    unlabelled: images (N, C, H, W) without labels to pretrain on instead of train's, where a data set has such.
    """

    name: str
    spec: ImageSpec
    train: Split
    val: Split
    read_test: Callable[[], Split]
    fingerprint: str  # of the content of all splits
    note: str | None = None
    unlabelled: Images | None = None

    @property
    def to_pretrain(self) -> Images:
        """The images that a method sees."""
        return self.train.images if self.unlabelled is None else self.unlabelled

    @property
    def classes(self) -> list[str]:
        """The classes of a data set with labels."""
        assert self.spec.classes is not None
        return self.spec.classes


def as_float(images: Tensor) -> Tensor:
    """(N, C, H, W) uint8 in 0..255 -> float32 in [0, 1], channels last where that is faster."""
    floats = images.float().div_(255)
    return floats.contiguous(memory_format=torch.channels_last) if images.device.type in ("cpu", "cuda") else floats


def fingerprint(*parts: Images) -> str:
    """The first 16 hex digits of a sha256 over the shapes and bytes of images and labels."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(tuple(part.shape)).encode())
        for batch in chunks(part, 10_000):
            digest.update(batch.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def check_content(spec: ImageSpec, where: str, images: Images, labels: Tensor | None) -> None:
    """Raises UserError where images (N, C, H, W) uint8 or labels (N,) do not agree with the spec. where: what the message begins with."""
    if isinstance(images, Tensor) and images.dtype != torch.uint8:
        raise UserError(f"{where} holds images of {str(images.dtype).removeprefix('torch.')}; they must be uint8, in 0..255")
    found, expected = tuple(images.shape[1:]), (spec.channels, spec.height, spec.width)
    if found != expected:
        shapes = [" x ".join(map(str, shape)) for shape in (found, expected)]
        raise UserError(f"{where} holds images of {shapes[0]} (channels x height x width), data.spec says {shapes[1]}")
    if spec.classes is None:
        return
    if labels is None:
        raise UserError(f"{where} holds no labels; data.spec.classes names {len(spec.classes)} classes")
    if len(images) != len(labels):
        raise UserError(f"{where} holds {len(images):,} images and {len(labels):,} labels")
    wrong = labels[(labels < 0) | (labels >= len(spec.classes))]
    if len(wrong):
        names = f"data.spec.classes names {len(spec.classes)} classes, labels 0 to {len(spec.classes) - 1}"
        raise UserError(f"{where} holds the label {int(wrong[0])}; {names}")


def checked(dataset: Dataset) -> Dataset:
    """The data set, whose parts agree with its spec; test is looked at when it is read. Raises UserError where one does not."""

    def check(part: str, split: Split) -> Split:
        check_content(dataset.spec, f"{dataset.name}'s {part} part", split.images, split.labels)
        return split

    check("train", dataset.train), check("val", dataset.val)
    if dataset.unlabelled is not None:
        check_content(replace(dataset.spec, classes=None), f"{dataset.name}'s unlabelled part", dataset.unlabelled, None)
    return replace(dataset, read_test=lambda: check("test", dataset.read_test()))
