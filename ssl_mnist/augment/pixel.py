"""Pixel augmentations: each maps the images (B, C, H, W) themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_mnist.augment.base import PixelOp, check_bounds, check_range, uniform


class StrokeThickness(PixelOp):
    """Thicken or thin bright strokes: grey-scale dilation and erosion with a cross. Each image is blended with its maximum (thicker) or
    minimum (thinner) over each pixel and its four neighbours, by a share of up to `strength`, sampled per image.
    """

    def __init__(self, strength: float, p: float) -> None:
        super().__init__(p)
        check_bounds(0, 1, strength=strength)
        self.strength = strength

    def forward(self, images: Tensor) -> Tensor:
        num = len(images)
        share = uniform(images, num, -self.strength, self.strength) * self.selected(images, num)  # below 0: thinner
        sign = torch.where(share < 0, -1.0, 1.0).view(-1, 1, 1, 1)
        signed = images * sign  # the minimum is the maximum of the negative
        grown = signed.clone()
        for here, neighbour in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            torch.maximum(grown[..., here, :], signed[..., neighbour, :], out=grown[..., here, :])
            torch.maximum(grown[..., here], signed[..., neighbour], out=grown[..., here])
        return signed.lerp_(grown, share.abs().view(-1, 1, 1, 1)).mul_(sign)


class Erasing(PixelOp):
    """Random erasing (Zhong et al. 2020): set a rectangle to 0. side: [low, high] of each side, as a fraction of the image's."""

    def __init__(self, side: Sequence[float], p: float) -> None:
        super().__init__(p)
        self.side = check_range("side", side, 0, 1)

    def forward(self, images: Tensor) -> Tensor:
        num = len(images)
        inside = []
        for size in images.shape[2:]:
            axis = torch.arange(size, device=images.device) + 0.5
            side = uniform(images, num, *self.side) * size
            start = torch.rand(num, device=images.device) * (size - side)
            inside.append((axis > start[:, None]) & (axis < (start + side)[:, None]))  # (B, H) or (B, W)
        rows, columns = inside
        box = rows[:, :, None] & columns[:, None, :] & self.selected(images, num)[:, None, None]  # (B, H, W)
        return images.masked_fill(box[:, None], 0.0)


class ColorJitter(PixelOp):
    """Brightness, contrast and saturation by factors from [1 - x, 1 + x], in this order; each equals torchvision's at the same factor.

    saturation needs colour images. torchvision draws the order too, and has a hue.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float, p: float) -> None:
        super().__init__(p)
        check_bounds(0, 1, brightness=brightness, contrast=contrast, saturation=saturation)
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.channels = 3 if saturation else None

    def forward(self, images: Tensor) -> Tensor:
        num = len(images)
        act = self.selected(images, num)

        def factor(width: float) -> Tensor:
            return torch.where(act, uniform(images, num, 1 - width, 1 + width), 1.0).view(-1, 1, 1, 1)

        images = (images * factor(self.brightness)).clamp(0, 1)
        mean = luma(images).mean((1, 2, 3), keepdim=True)
        images = torch.lerp(mean, images, factor(self.contrast)).clamp(0, 1)
        if self.saturation:
            images = torch.lerp(luma(images), images, factor(self.saturation)).clamp(0, 1)
        return images


def luma(images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W): ITU-R 601's grey of RGB images, as torchvision has it; the mean of other channels."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue)[:, None]
