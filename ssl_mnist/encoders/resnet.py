"""Residual networks (He et al. 2016, https://arxiv.org/abs/1512.03385), of torchvision's blocks."""

from typing import ClassVar

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders.base import Encoder, Features, mean_pool
from ssl_mnist.errors import UserError

SMALL = 64  # pixels of the larger side up to which images keep their size in the stem


class ResNet(Encoder):
    """Residual stages of `width`, 2 `width`, 4 `width`, ... planes; all but the first halve the map. The embedding is the mean of the map.

    Images larger than 64 pixels have the paper's stem, a 7 x 7 convolution of stride 2 and max pooling; smaller ones have a 3 x 3
    convolution of stride 1 instead (SimCLR, Chen et al. 2020, https://arxiv.org/abs/2002.05709, appendix B.9). A bottleneck has its
    stride in the 3 x 3 convolution, as torchvision has it.
    """

    has_map = True
    blocks: ClassVar[dict[str, type[BasicBlock] | type[Bottleneck]]] = {"basic": BasicBlock, "bottleneck": Bottleneck}

    def __init__(self, block: str, depths: list[int], width: int, spec: ImageSpec) -> None:
        """block: basic or bottleneck; depths: blocks of each stage; width: planes of the first stage."""
        super().__init__(spec)
        if block not in self.blocks:
            raise UserError(f"encoder.block must be basic or bottleneck, got {block!r}")
        if not depths or not 1 <= min(depths) <= max(depths) <= 100:
            raise UserError(f"encoder.depths must be the number of blocks of each stage, 1..100 each, got {depths}")
        make, expansion = self.blocks[block], self.blocks[block].expansion
        if not 1 <= width <= 65_536 // (expansion * 2 ** (len(depths) - 1)):
            raise UserError(f"encoder.width must be 1 or more, and the last of {len(depths)} stages at most 65,536 wide, got {width}")
        if max(spec.height, spec.width) <= SMALL:
            stem: list[nn.Module] = [nn.Conv2d(spec.channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        else:
            stem = [nn.Conv2d(spec.channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            stem.append(nn.MaxPool2d(3, 2, 1))
        self.stem = nn.Sequential(*stem)
        self.stages = nn.ModuleList()
        num_in = width
        for i, depth in enumerate(depths):
            planes, stride = width * 2**i, 1 if i == 0 else 2
            num_out = planes * expansion
            skip = None
            if stride != 1 or num_in != num_out:
                skip = nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out))
            rest = [make(num_out, planes) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(make(num_in, planes, stride, skip), *rest))
            num_in = num_out
        self.dim = num_in
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def hidden_layers(self) -> list[nn.Module]:
        return [self.stem, *self.stages]

    def features(self, images: Tensor) -> Features:
        maps = self.stem(self.normalise(images))
        for stage in self.stages:
            maps = stage(maps)
        return Features(mean_pool(maps), maps)
