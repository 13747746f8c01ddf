"""Decoders: embeddings (B, D) -> images (B, C, H, W) in [0, 1]: the mirrors of some encoders, and one for any other."""

from torch import nn

from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders.base import map_sizes
from ssl_mnist.encoders.conv import conv_block


def conv_decoder(dim: int, widths: list[int], strides: list[int], spec: ImageSpec) -> nn.Module:
    """A linear layer to the smallest map, then one up-sampling convolution for each of the encoder's widths, in reverse."""
    sizes = map_sizes(spec, strides)
    height, width = sizes[-1]
    layers: list[nn.Module] = [nn.Linear(dim, widths[-1] * height * width), nn.Unflatten(1, (widths[-1], height, width))]
    outputs = [spec.channels, *widths[:-1]]
    for i in reversed(range(len(widths))):
        if strides[i] > 1:
            layers.append(nn.Upsample(size=sizes[i], mode="nearest"))
        layers += conv_block(widths[i], outputs[i], 1) if i else [nn.Conv2d(widths[i], outputs[i], 3, 1, 1), nn.Sigmoid()]
    return nn.Sequential(*layers)


def mlp_decoder(widths: list[int], spec: ImageSpec) -> nn.Module:
    """Fully connected layers with the encoder's widths in reverse."""
    layers: list[nn.Module] = []
    for num_in, num_out in zip(widths[::-1], widths[-2::-1], strict=False):
        layers += [nn.Linear(num_in, num_out, bias=False), nn.BatchNorm1d(num_out), nn.ReLU(inplace=True)]
    shape = (spec.channels, spec.height, spec.width)
    return nn.Sequential(*layers, nn.Linear(widths[0], spec.channels * spec.height * spec.width), nn.Unflatten(1, shape), nn.Sigmoid())


def generic_decoder(dim: int, spec: ImageSpec) -> nn.Module:
    """A linear layer to a map of at most 4 x 4, then convolutions, each after up-sampling to twice the size.

    The full-size map is 16 channels wide, each smaller one twice as wide, up to 256.
    """
    sizes = [(spec.height, spec.width)]
    while max(sizes[-1]) > 4:
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    widths = [min(16 * 2**i, 256) for i in range(len(sizes))]  # of the map of each of the sizes
    height, width = sizes.pop()
    layers: list[nn.Module] = [nn.Linear(dim, widths[-1] * height * width), nn.Unflatten(1, (widths[-1], height, width))]
    for i in reversed(range(len(sizes))):
        layers += [nn.Upsample(size=sizes[i], mode="nearest"), *conv_block(widths[i + 1], widths[i], 1)]
    return nn.Sequential(*layers, nn.Conv2d(widths[0], spec.channels, 3, 1, 1), nn.Sigmoid())
