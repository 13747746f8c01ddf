"""What every encoder has: input checks and normalisation, `dim`, features, and a decoder that mirrors it.

An encoder normalises its input itself, with the mean and standard deviation of the data it was built for, so that whoever loads one
later feeds it plain images.

Shapes: B batch, C image channels, H and W image size, D = dim, K map channels, h and w map size, T tokens.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_mnist.data import Images, ImageSpec
from ssl_mnist.errors import UserError


class Features(NamedTuple):
    embedding: Tensor  # (B, D)
    map: Tensor | None = None  # (B, K, h, w), where the encoder has a feature map
    tokens: Tensor | None = None  # (B, T, D), where it has tokens


class Encoder(nn.Module):
    """Base of all encoders. A subclass sets `dim` and overrides `features`; `forward` is the embedding.

    spec: size, channels, mean and standard deviation of the images.
    """

    dim: int
    has_map = False
    arguments: dict[str, Any]  # of the constructor, but for the spec; set by `build` and `load_encoder`
    mean: Tensor  # (1, C, 1, 1)
    std: Tensor

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1))

    def normalise(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> the same, standardised. Raises ValueError for images of another shape, type or range."""
        self.check(images)
        return (images - self.mean) / self.std

    def check(self, images: Tensor) -> None:
        """Raises ValueError unless these are images (B, C, H, W) of the spec's size in [0, 1]."""
        expected = (self.spec.channels, self.spec.height, self.spec.width)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected or not images.is_floating_point():
            raise ValueError(
                f"the encoder takes float images (B, {', '.join(map(str, expected))}) in [0, 1], "
                f"got {images.dtype} {tuple(images.shape)}; divide uint8 images by 255"
            )
        if not self.training and not torch.compiler.is_compiling() and not torch.jit.is_tracing():
            low, high = (bound.item() for bound in images.detach().aminmax())
            if low < -1e-3 or high > 1 + 1e-3:
                raise ValueError(f"the encoder takes images in [0, 1] and normalises them itself, got values from {low:.4g} to {high:.4g}")

    def prepare(self, images: Images) -> None:
        """Called once before training with all images (N, C, H, W) uint8 that it may see, for what is found from them without training."""

    def features(self, images: Tensor) -> Features:
        """(B, C, H, W) in [0, 1] -> the embedding, and the feature map or tokens where there are any."""
        raise NotImplementedError

    def map_shape(self) -> tuple[int, int, int] | None:
        """(K, h, w) of the feature map, None where there is none."""
        if not self.has_map:
            return None
        was_training = self.training
        self.eval()
        with torch.no_grad():
            images = torch.zeros(1, self.spec.channels, self.spec.height, self.spec.width, device=self.mean.device)
            found = self.features(images).map
        self.train(was_training)
        assert found is not None
        return found.shape[1], found.shape[2], found.shape[3]

    def hidden_layers(self) -> list[nn.Module]:
        """The modules whose outputs stand for what the encoder computes from image to embedding, in order: maps (B, K, h, w), tokens
        (B, T, D) or vectors (B, D). None where an encoder does not name them.
        """
        return []

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, D)."""
        return self.features(images).embedding

    def decoder(self) -> nn.Module:
        """A new network (B, D) -> (B, C, H, W); its output is in [0, 1]. Here the generic one; a subclass may mirror its own layers."""
        from ssl_mnist.encoders.decoders import generic_decoder

        return generic_decoder(self.dim, self.spec)

    def untrained(self) -> "Encoder":
        """A new encoder of this kind on the CPU, its weights drawn by torch's generator."""
        return type(self)(**self.arguments_to_load(self.arguments), spec=self.spec)

    @classmethod
    def arguments_to_load(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The constructor's arguments for an encoder whose weights are loaded afterwards, from those it was first built with."""
        return dict(arguments)


class MapEncoder(Encoder):
    """An encoder whose embedding is its pooled feature map: the mean and the maximum of each channel, side by side.

    The mean says how much of a feature there is, the maximum whether there is any. `cells` is 1 for one maximum a channel, or more
    for the maxima in cells x cells parts of the map, which say where (spatial pyramid pooling, He et al. 2014,
    https://arxiv.org/abs/1406.4729). The feature map holds the maps of the last `num_maps` layers, the larger ones max-pooled to the
    last one's size (hypercolumns, Hariharan et al. 2015, https://arxiv.org/abs/1411.5752).
    """

    has_map = True
    layers: nn.ModuleList  # from map to map, the first from normalised images

    def __init__(self, widths: list[int], strides: list[int], num_maps: int, cells: int, spec: ImageSpec) -> None:
        """widths, strides: of each layer; num_maps: how many of the last layers' maps the feature map holds."""
        super().__init__(spec)
        if len(widths) != len(strides):
            raise UserError(f"encoder.widths and encoder.strides must be equally long, got {widths} and {strides}")
        if not widths or min(*widths, *strides) < 1:
            raise UserError(f"encoder.widths and encoder.strides must be 1 or more, got {widths} and {strides}")
        if max(widths) > 65_536 or max(strides) > min(spec.height, spec.width):
            raise UserError(f"encoder.widths must be at most 65,536 and encoder.strides at most the image size, got {widths} and {strides}")
        if not 1 <= num_maps <= len(widths):
            raise UserError(f"encoder.num_maps must be in 1..{len(widths)}, the number of layers, got {num_maps}")
        self.map_size = map_sizes(spec, strides)[-1]  # (h, w)
        if not 1 <= cells <= min(self.map_size):
            raise UserError(f"encoder.cells must be in 1..{min(self.map_size)}, the size of the feature map, got {cells}")
        self.widths, self.strides, self.num_maps, self.cells = widths, strides, num_maps, cells
        self.dim = sum(widths[-num_maps:]) * (1 + cells**2)

    def feature_map(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, h, w)."""
        maps = [self.normalise(images)]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        *larger, last = maps[-self.num_maps :]
        return torch.cat([*(max_pool(each, *last.shape[-2:]) for each in larger), last], dim=1) if larger else last

    def hidden_layers(self) -> list[nn.Module]:
        return list(self.layers)

    def pool(self, feature_map: Tensor) -> Tensor:
        """(B, K, h, w) -> (B, D), D = K (1 + cells^2)."""
        return torch.cat([mean_pool(feature_map), max_pool(feature_map, self.cells, self.cells).flatten(1)], dim=1)

    def features(self, images: Tensor) -> Features:
        feature_map = self.feature_map(images)
        return Features(self.pool(feature_map), feature_map)

    def decoder(self) -> nn.Module:
        from ssl_mnist.encoders.decoders import conv_decoder

        return conv_decoder(self.dim, self.widths, self.strides, self.spec)


def map_sizes(spec: ImageSpec, strides: list[int]) -> list[tuple[int, int]]:
    """(h, w) of the image and of each layer's map, for 3 x 3 convolutions with padding 1."""
    sizes = [(spec.height, spec.width)]
    for stride in strides:
        height, width = sizes[-1]
        sizes.append((-(-height // stride), -(-width // stride)))
    return sizes


def mean_pool(maps: Tensor) -> Tensor:
    """(B, K, h, w) -> (B, K): the mean over positions."""
    # In this form the gradients of a channels_last map are ten times as fast on a CPU as those of the mean over (2, 3).
    positions = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (B, h w, K)
    return positions.sum(1) / positions.shape[1]


def max_pool(maps: Tensor, height: int, width: int) -> Tensor:
    """(B, K, h, w) -> (B, K, height, width): maxima of equal parts. They overlap where the sizes do not divide, and
    repeat where the map is smaller.

    The same numbers as adaptive max pooling, whose gradient is not deterministic on CUDA, which is wrong on MPS where the sizes do not
    divide (pytorch issue 190064), and which ONNX cannot express. Parts of one size a fixed step apart are ordinary max pooling.
    """
    (rows, tall, down), (columns, wide, right) = (_parts(n, size) for n, size in zip(maps.shape[-2:], (height, width), strict=True))
    if tall and wide:
        return F.max_pool2d(maps, (tall, wide), (down, right))
    return torch.stack(
        [torch.stack([maps[..., top:bottom, left:end].amax((2, 3)) for left, end in columns], -1) for top, bottom in rows], -2
    )


def _parts(num: int, size: int) -> tuple[list[tuple[int, int]], int, int]:
    """Adaptive pooling's parts of `num` positions, [start, end); their common length and step, 0 where they have none."""
    parts = [(i * num // size, -(-(i + 1) * num // size)) for i in range(size)]
    lengths = {end - start for start, end in parts}
    steps = {after[0] - before[0] for before, after in pairwise(parts)} or {num}
    return (parts, lengths.pop(), steps.pop()) if len(lengths) == len(steps) == 1 and 0 not in steps else (parts, 0, 0)
