"""Frozen features: what an encoder in eval mode makes of images."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.data import as_float
from ssl_mnist.encoders import Encoder, MapEncoder


class Features(NamedTuple):
    embedding: Tensor  # (N, D) float32
    map: Tensor | None  # (N, K m m) float32: the feature map's maxima in m x m cells; None where the encoder has no map


@torch.no_grad()
def extract(encoder: Encoder, images: Tensor, map_size: int, batch_size: int = 1000) -> Features:
    """Embeddings and pooled feature maps of images (N, C, H, W) uint8, in float32. The encoder must be in eval mode."""
    assert not encoder.training
    embeddings, maps = [], []
    for batch in images.split(batch_size):
        if isinstance(encoder, MapEncoder):
            feature_map = encoder.feature_map(as_float(batch))  # (B, K, h, w)
            embeddings.append(encoder.pool(feature_map))
            maps.append(F.adaptive_max_pool2d(feature_map, map_size).flatten(1))
        else:
            embeddings.append(encoder(as_float(batch)))
    return Features(torch.cat(embeddings), torch.cat(maps) if maps else None)
