"""Convolutional encoders: a plain stack (`Conv`) and a small residual network (`ConvDeep`)."""

import torch
from torch import Tensor, nn

from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders.base import MapEncoder
from ssl_mnist.errors import UserError


def conv_block(num_in: int, num_out: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU(inplace=True)]


def separable_block(num_in: int, num_out: int, stride: int) -> list[nn.Module]:
    """A depthwise separable convolution: each channel by itself, then all channels of a position.

    After MobileNet (Howard et al. 2017, https://arxiv.org/abs/1704.04861, section 3.1), which has a BatchNorm between the two.
    """
    depthwise = nn.Conv2d(num_in, num_in, 3, stride, 1, groups=num_in, bias=False)
    return [depthwise, nn.Conv2d(num_in, num_out, 1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU(inplace=True)]


class Conv(MapEncoder):
    """3 x 3 convolutions with BatchNorm and ReLU, one for each of `widths`. A first stride of 2 saves the costly full-size layer."""

    def __init__(self, widths: list[int], strides: list[int], num_maps: int, cells: int, spec: ImageSpec) -> None:
        super().__init__(widths, strides, num_maps, cells, spec)
        shapes = zip([spec.channels, *widths], widths, strides, strict=False)
        self.layers = nn.ModuleList(nn.Sequential(*conv_block(*shape)) for shape in shapes)


class _Residual(nn.Module):
    """A basic residual block (He et al. 2016, figure 2): two convolutions around an identity or a 1 x 1 projection."""

    def __init__(self, num_in: int, num_out: int, stride: int, separable: bool) -> None:
        super().__init__()
        block = separable_block if separable else conv_block
        self.body = nn.Sequential(*block(num_in, num_out, stride), *block(num_out, num_out, 1)[:-1])
        same = num_in == num_out and stride == 1
        self.skip = nn.Identity() if same else nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class ConvDeep(MapEncoder):
    """A small residual network: a strided stem of `widths[0]` channels, then one basic block for each further width.

    The convolutions of the last `separable` blocks, where channels are many and positions few, are depthwise separable.
    """

    def __init__(self, widths: list[int], strides: list[int], separable: int, num_maps: int, cells: int, spec: ImageSpec) -> None:
        super().__init__(widths, strides, num_maps, cells, spec)
        num_blocks = len(widths) - 1
        if not 0 <= separable <= num_blocks:
            raise UserError(f"encoder.separable must be in 0..{num_blocks}, the number of blocks, got {separable}")
        shapes = zip(widths, widths[1:], strides[1:], strict=False)
        blocks = [_Residual(*shape, separable=i >= num_blocks - separable) for i, shape in enumerate(shapes)]
        self.layers = nn.ModuleList([nn.Sequential(*conv_block(spec.channels, widths[0], strides[0])), *blocks])
