"""All images of a page as one picture: a WebP file of tiles, row by row."""

import io
import math
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.data import chunks

MAX_SIDE = 48  # pixels of a tile; larger images are reduced to it
GREYS = 16  # levels of grey images: enough to look at, and half the bytes


class Sheet(NamedTuple):
    data: bytes  # WebP
    columns: int  # tiles a row
    height: int  # pixels of a tile
    width: int


def sheet(images: Tensor) -> Sheet:
    """Of images (N, C, H, W) uint8; three channels are RGB, of any other number the first is shown as grey. Grey is stored without loss."""
    tiles = _reduced(images.cpu())
    num, channels, height, width = tiles.shape
    columns = math.ceil(math.sqrt(num * height / width))
    rows = math.ceil(num / columns)
    padded = torch.zeros(rows * columns, channels, height, width, dtype=torch.uint8)
    padded[:num] = tiles
    pixels = (
        padded.view(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels).numpy()
    )
    file = io.BytesIO()
    if channels == 1:
        step = 255 / (GREYS - 1)
        grey = (np.round(pixels[:, :, 0] / step) * step).astype("uint8")
        Image.fromarray(grey).save(file, "WEBP", lossless=True, quality=60, method=4)
    else:
        Image.fromarray(pixels).save(file, "WEBP", quality=60, method=4)
    return Sheet(file.getvalue(), columns, height, width)


def _reduced(images: Tensor) -> Tensor:
    """One or three channels, at most MAX_SIDE pixels a side."""
    images = images if images.shape[1] == 3 else images[:, :1]
    scale = MAX_SIDE / max(images.shape[2:])
    if scale >= 1:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[2:]]
    parts = [F.interpolate(part.float(), size, mode="area").round().to(torch.uint8) for part in chunks(images, 1000)]
    return torch.cat(parts)
