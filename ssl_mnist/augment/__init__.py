"""Augmentations on whole batches; a named op is one class."""

from ssl_mnist.augment.base import Augmentation, GeometricOp, Op, PixelOp
from ssl_mnist.augment.geometric import Affine, Elastic, HorizontalFlip, RandomResizedCrop
from ssl_mnist.augment.pixel import ColorJitter, Erasing, GaussianBlur, Grayscale, Solarize, StrokeThickness

__all__ = [
    "Affine",
    "Augmentation",
    "ColorJitter",
    "Elastic",
    "Erasing",
    "GaussianBlur",
    "GeometricOp",
    "Grayscale",
    "HorizontalFlip",
    "Op",
    "PixelOp",
    "RandomResizedCrop",
    "Solarize",
    "StrokeThickness",
]
