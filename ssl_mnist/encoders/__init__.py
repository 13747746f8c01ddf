"""Encoders: images (B, C, H, W) in [0, 1] -> embeddings (B, D)."""

from ssl_mnist.encoders.base import Encoder, Features, MapEncoder, max_pool
from ssl_mnist.encoders.conv import Conv, ConvDeep
from ssl_mnist.encoders.fixed import PCA, Pixels
from ssl_mnist.encoders.mlp import MLP
from ssl_mnist.encoders.resnet import ResNet
from ssl_mnist.encoders.timm import Timm
from ssl_mnist.encoders.vit import ViT

__all__ = ["MLP", "PCA", "Conv", "ConvDeep", "Encoder", "Features", "MapEncoder", "Pixels", "ResNet", "Timm", "ViT", "max_pool"]
