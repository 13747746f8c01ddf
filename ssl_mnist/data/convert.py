"""Images as a caller has them - arrays, tensors, PIL images, files - as an encoder takes them.

Shapes: N images, B of a batch, C channels, H and W image size.
"""

from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssl_mnist.data.decode import to_picture, to_pixels
from ssl_mnist.data.spec import ImageSpec

ROUNDING = 1e-3  # by which floats may miss [0, 1], as an encoder allows it


def float_batches(images: Any, spec: ImageSpec, batch_size: int) -> Iterator[Tensor]:
    """Batches (B, C, H, W) float32 in [0, 1] of what `ssl_mnist.embed` takes; files are read batch by batch.

    Raises ValueError for images that do not have the spec's size and channels, or for values that are no image's.
    """
    if isinstance(images, list | tuple):
        for start in range(0, len(images), batch_size):
            part = [_one(each, spec, f"image {start + i}") for i, each in enumerate(images[start : start + batch_size])]
            yield torch.from_numpy(np.stack(part))
    elif isinstance(images, np.ndarray | Tensor):
        found = _channels_first(_as_array(images), spec, "images")
        for start in range(0, len(found), batch_size):
            yield torch.from_numpy(_floats(found[start : start + batch_size], "images"))
    else:
        yield torch.from_numpy(_one(images, spec, "the image"))[None]


def check_values(images: np.ndarray) -> None:
    """Raises ValueError, whose text goes on after "images", unless they are uint8, or floats in [0, 1]."""
    if images.dtype == np.uint8:
        return
    if images.dtype.kind != "f":
        raise ValueError(f"must be uint8 in 0..255 or float in [0, 1], got {images.dtype}; images.astype(numpy.uint8) makes them so")
    if not np.isfinite(images).all():
        raise ValueError("include some that are not finite numbers (NaN or infinity)")
    low, high = float(images.min(initial=0)), float(images.max(initial=0))
    if low < -ROUNDING or high > 1 + ROUNDING:
        remedy = "divide them by 255" if low >= 0 and high <= 255 else "bring them to [0, 1]"
        raise ValueError(f"are floats from {low:.4g} to {high:.4g} and must be in [0, 1]; {remedy}")


def _one(image: Any, spec: ImageSpec, what: str) -> np.ndarray:
    """(C, H, W) float32 of one image of any kind. what: its name in messages."""
    if isinstance(image, np.ndarray | Tensor):
        found = _channels_first(_as_array(image), spec, what)
        if len(found) != 1:
            raise ValueError(f"{what} is an array of {len(found)} images; a list holds one image an entry")
    elif isinstance(image, str | PathLike):
        with Image.open(image) as opened:
            found = _of_picture(opened, spec, str(image))
    elif isinstance(image, Image.Image):
        found = _of_picture(image.copy(), spec, what)
    else:
        raise ValueError(f"{what} must be an array, a tensor, a PIL image or a path, got {type(image).__name__}")
    return _floats(found, f"the values of {what}")[0]


def _of_picture(image: Image.Image, spec: ImageSpec, what: str) -> np.ndarray:
    """(1, C, H, W) uint8."""
    if spec.channels not in (1, 3):
        raise ValueError(f"{what} is grey or RGB, the encoder takes {spec.channels} channels; give it arrays")
    pixels = to_pixels(to_picture(image, spec.channels))
    if pixels.shape[1:] != (spec.height, spec.width):
        raise ValueError(f"{what} is {pixels.shape[1]} x {pixels.shape[2]} pixels (H x W), the encoder takes {spec.height} x {spec.width}")
    return pixels[None]


def _as_array(images: np.ndarray | Tensor) -> np.ndarray:
    if isinstance(images, np.ndarray):
        return images
    images = images.detach().cpu()
    return (images.float() if images.dtype == torch.bfloat16 else images).numpy()  # numpy has no bfloat16


def _channels_first(images: np.ndarray, spec: ImageSpec, what: str) -> np.ndarray:
    """(N, C, H, W) of an array of images in any order that fits the spec."""
    channels, height, width = size = (spec.channels, spec.height, spec.width)
    if images.ndim in (3, 4) and images.shape[-3:] == size:
        return images.reshape(-1, *size)
    if images.ndim in (3, 4) and images.shape[-3:] == (height, width, channels):
        return np.moveaxis(images, -1, -3).reshape(-1, *size)
    if images.ndim in (2, 3) and channels == 1 and images.shape[-2:] == (height, width):
        return images.reshape(-1, *size)
    orders = f"(N, {channels}, {height}, {width}), (N, {height}, {width}, {channels})"
    orders += f", (N, {height}, {width})" if channels == 1 else ""
    raise ValueError(f"{what}: the encoder takes {orders} or one such image, got {tuple(images.shape)}")


def _floats(images: np.ndarray, what: str) -> np.ndarray:
    """Any images -> float32 in [0, 1]."""
    try:
        check_values(images)
    except ValueError as error:
        raise ValueError(f"{what} {error}") from None
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images.astype(np.float32)
