"""Encoders: images (B, C, H, W) in [0, 1] -> embeddings (B, D)."""

from ssl_mnist.encoders.base import Encoder, Features, MapEncoder, max_pool
from ssl_mnist.encoders.conv import Conv, ConvDeep
from ssl_mnist.encoders.mlp import MLP

__all__ = ["MLP", "Conv", "ConvDeep", "Encoder", "Features", "MapEncoder", "max_pool"]
