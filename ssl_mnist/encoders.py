"""Encoders: images (B, C, H, W) in [0, 1] -> embeddings (B, dim).

An encoder normalises its input itself, with the mean and standard deviation it was built with, so that whoever loads one
later feeds it plain images. Encoders with a spatial feature map expose it, for probes that look at it, and each encoder
builds the decoder that mirrors it.

Shapes: B batch, C image channels, H = W = size, D = dim, K map channels, h = w map size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def max_pool(maps: Tensor, size: int) -> Tensor:
    """(B, K, h, w) -> (B, K, size, size): maxima of size x size parts, which overlap where size does not divide h or w."""
    if maps.device.type == "mps":  # wrong there without a word where it does not divide (torch 2.13, pytorch issue 190064)
        return F.adaptive_max_pool2d(maps.cpu(), size).to(maps.device)
    return F.adaptive_max_pool2d(maps, size)


class Encoder(nn.Module):
    """What every encoder has: input normalisation and `dim`."""

    dim: int
    mean: Tensor  # (1, C, 1, 1)
    std: Tensor

    def __init__(self, channels: int, size: int, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def normalise(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std

    def decoder(self) -> nn.Module:
        """A fresh network (B, D) -> (B, C, H, W), the encoder's mirror; its output is in [0, 1]."""
        raise NotImplementedError


class MapEncoder(Encoder):
    """An encoder whose embedding is its feature map, pooled: the mean and the maximum of each channel, side by side.

    The feature map holds the maps of the last `num_maps` layers, those that are larger max-pooled to the last one's size
    (hypercolumns, Hariharan et al. 2015, https://arxiv.org/abs/1411.5752).

    The mean says how much of a feature there is, the maximum whether there is any; digits need both. `cells` is 1 for one maximum a
    channel, or more for the maxima in cells x cells parts of the map, which say where (spatial pyramid pooling, He et al. 2014,
    https://arxiv.org/abs/1406.4729).
    """

    layers: nn.ModuleList  # from map to map, the first from normalised images

    def __init__(
        self,
        widths: list[int],
        strides: list[int],
        num_maps: int,
        cells: int,
        channels: int,
        size: int,
        mean: list[float],
        std: list[float],
    ) -> None:
        """widths, strides: of each layer; num_maps: how many of the last layers' maps the feature map holds."""
        super().__init__(channels, size, mean, std)
        if len(widths) != len(strides):
            raise ValueError(f"encoder.widths and encoder.strides must be equally long, got {widths} and {strides}")
        if min(*widths, *strides) < 1:
            raise ValueError(f"encoder.widths and encoder.strides must be 1 or more, got {widths} and {strides}")
        if not 1 <= num_maps <= len(widths):
            raise ValueError(f"encoder.num_maps must be in 1..{len(widths)}, the number of layers, got {num_maps}")
        if cells < 1:
            raise ValueError(f"encoder.cells must be 1 or more, got {cells}")
        self.widths, self.strides, self.num_maps, self.cells = widths, strides, num_maps, cells
        self.dim = sum(widths[-num_maps:]) * (1 + cells**2)

    def feature_map(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, h, w)."""
        maps = [self.normalise(images)]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        *larger, last = maps[-self.num_maps :]
        return torch.cat([*(max_pool(each, last.shape[-1]) for each in larger), last], dim=1) if larger else last

    def pool(self, feature_map: Tensor) -> Tensor:
        """(B, K, h, w) -> (B, D), D = K (1 + cells^2)."""
        # In this form the gradients of a channels_last map are ten times as fast on a CPU as those of mean and amax over (2, 3).
        positions = feature_map.permute(0, 2, 3, 1).flatten(1, 2)  # (B, h w, K)
        mean = positions.sum(1) / positions.shape[1]
        return torch.cat([mean, max_pool(feature_map, self.cells).flatten(1)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(self.feature_map(images))

    def decoder(self) -> nn.Module:
        return _conv_decoder(self.dim, self.widths, self.strides, self.channels, self.size)


def _conv(num_in: int, num_out: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU(inplace=True)]


def _separable(num_in: int, num_out: int, stride: int) -> list[nn.Module]:
    """Each channel by itself, then all channels of a position: a depthwise separable convolution, without BatchNorm in between.

    After MobileNet (Howard et al. 2017, https://arxiv.org/abs/1704.04861, section 3.1), which has one there.
    """
    depthwise = nn.Conv2d(num_in, num_in, 3, stride, 1, groups=num_in, bias=False)
    return [depthwise, nn.Conv2d(num_in, num_out, 1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU(inplace=True)]


def _conv_decoder(dim: int, widths: list[int], strides: list[int], channels: int, size: int) -> nn.Module:
    """Linear to the map, then one up-sampling convolution for each of the encoder's widths, in reverse."""
    sizes = [size]
    for stride in strides:
        sizes.append((sizes[-1] + stride - 1) // stride)
    layers: list[nn.Module] = [nn.Linear(dim, widths[-1] * sizes[-1] ** 2), nn.Unflatten(1, (widths[-1], sizes[-1], sizes[-1]))]
    outputs = [channels, *widths[:-1]]
    for i in reversed(range(len(widths))):
        if strides[i] > 1:
            layers.append(nn.Upsample(size=sizes[i], mode="nearest"))
        layers += _conv(widths[i], outputs[i], 1) if i else [nn.Conv2d(widths[i], outputs[i], 3, 1, 1), nn.Sigmoid()]
    return nn.Sequential(*layers)


class Conv(MapEncoder):
    """A plain stack of 3 x 3 convolutions with BatchNorm and ReLU.

    `widths` and `strides` hold one number a convolution. A first stride of 2 keeps the costly full-resolution layer out.
    """

    def __init__(
        self,
        widths: list[int],
        strides: list[int],
        num_maps: int,
        cells: int,
        channels: int,
        size: int,
        mean: list[float],
        std: list[float],
    ) -> None:
        super().__init__(widths, strides, num_maps, cells, channels, size, mean, std)
        shapes = zip([channels, *widths], widths, strides, strict=False)
        self.layers = nn.ModuleList(nn.Sequential(*_conv(*shape)) for shape in shapes)


class _Residual(nn.Module):
    """A basic residual block (He et al. 2016, figure 2): two convolutions around an identity or a 1 x 1 projection."""

    def __init__(self, num_in: int, num_out: int, stride: int, separable: bool) -> None:
        super().__init__()
        layers = _separable if separable else _conv
        self.body = nn.Sequential(*layers(num_in, num_out, stride), *layers(num_out, num_out, 1)[:-1])
        same = num_in == num_out and stride == 1
        self.skip = nn.Identity() if same else nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class ConvDeep(MapEncoder):
    """A small residual network: a strided stem of `widths[0]` channels, then one basic block for each further width.

    The convolutions of the last `separable` blocks, where channels are many and positions few, are depthwise separable.
    """

    def __init__(
        self,
        widths: list[int],
        strides: list[int],
        separable: int,
        num_maps: int,
        cells: int,
        channels: int,
        size: int,
        mean: list[float],
        std: list[float],
    ) -> None:
        super().__init__(widths, strides, num_maps, cells, channels, size, mean, std)
        num_blocks = len(widths) - 1
        if not 0 <= separable <= num_blocks:
            raise ValueError(f"encoder.separable must be in 0..{num_blocks}, the number of blocks, got {separable}")
        shapes = zip(widths, widths[1:], strides[1:], strict=False)
        blocks = [_Residual(*shape, separable=i >= num_blocks - separable) for i, shape in enumerate(shapes)]
        self.layers = nn.ModuleList([nn.Sequential(*_conv(channels, widths[0], strides[0])), *blocks])


class MLP(Encoder):
    """Fully connected layers with BatchNorm and ReLU; no feature map, so no `linear_map` score."""

    def __init__(self, widths: list[int], channels: int, size: int, mean: list[float], std: list[float]) -> None:
        super().__init__(channels, size, mean, std)
        layers: list[nn.Module] = [nn.Flatten()]
        for num_in, num_out in zip([channels * size * size, *widths], widths, strict=False):
            layers += [nn.Linear(num_in, num_out, bias=False), nn.BatchNorm1d(num_out), nn.ReLU(inplace=True)]
        self.trunk = nn.Sequential(*layers)
        self.widths, self.dim = widths, widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.trunk(self.normalise(images))

    def decoder(self) -> nn.Module:
        layers: list[nn.Module] = []
        for num_in, num_out in zip(self.widths[::-1], self.widths[-2::-1], strict=False):
            layers += [nn.Linear(num_in, num_out, bias=False), nn.BatchNorm1d(num_out), nn.ReLU(inplace=True)]
        shape = (self.channels, self.size, self.size)
        return nn.Sequential(*layers, nn.Linear(self.widths[0], self.channels * self.size**2), nn.Unflatten(1, shape), nn.Sigmoid())
