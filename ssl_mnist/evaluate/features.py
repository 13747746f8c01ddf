"""Frozen features: what an encoder in eval mode makes of images."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.data import as_float
from ssl_mnist.encoders import Encoder, MapEncoder, max_pool


class Features(NamedTuple):
    embedding: Tensor  # (N, D) float32
    map: Tensor | None  # (N, K m m) float32: the feature map's maxima in m x m cells; None where the encoder has no map


@torch.no_grad()
def extract(encoder: Encoder, images: Tensor, map_size: int, shift: int = 0, batch_size: int = 1000) -> Features:
    """Embeddings and pooled feature maps of images (N, C, H, W) uint8, in float32. The encoder must be in eval mode.

    shift: of pixels; each feature is its mean over the image moved by up to that many pixels along each axis, (2 shift + 1)^2
    images; what moves in is black.
    """
    assert not encoder.training
    embeddings, maps = [], []
    for batch in images.split(batch_size):
        found = [_features(encoder, moved, map_size) for moved in _moved(as_float(batch), shift)]
        embeddings.append(_mean([each.embedding for each in found]))
        if found[0].map is not None:
            maps.append(_mean([each.map for each in found if each.map is not None]))
    return Features(torch.cat(embeddings), torch.cat(maps) if maps else None)


def _features(encoder: Encoder, images: Tensor, map_size: int) -> Features:
    """Of images (B, C, H, W) in [0, 1]."""
    if not isinstance(encoder, MapEncoder):
        return Features(encoder(images), None)
    feature_map = encoder.feature_map(images)  # (B, K, h, w)
    return Features(encoder.pool(feature_map), max_pool(feature_map, map_size).flatten(1))


def _moved(images: Tensor, shift: int) -> Iterator[Tensor]:
    """The images (B, C, H, W) under every shift of up to `shift` pixels."""
    height, width = images.shape[-2:]
    padded = F.pad(images, [shift] * 4)
    for top, left in itertools.product(range(2 * shift + 1), repeat=2):
        yield padded[..., top : top + height, left : left + width]


def _mean(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)
