"""Pixel augmentations: each maps the images (B, C, H, W) themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_mnist.augment.base import PixelOp, apply_where, check_bounds, check_range, uniform


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
    """Change brightness, contrast, saturation and hue, in an order sampled per image: torchvision's ColorJitter, batched.

    brightness, contrast, saturation: each a factor from [1 - x, 1 + x]; hue: a shift from [-x, x] of the colour circle, which is 1 around.
    Saturation and hue are for colour images; on images of one channel they do nothing, as in torchvision.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float, p: float) -> None:
        super().__init__(p)
        check_bounds(0, 1, brightness=brightness, contrast=contrast, saturation=saturation)
        check_bounds(0, 0.5, hue=hue)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.channels = (1, 3) if saturation or hue else None

    def sample(self, like: Tensor, num: int) -> tuple[Tensor, Tensor, Tensor]:
        """(B,) bool, the images to act on; (B, 4), which of the four changes is made first, second, ...; (4, B), their factors."""
        act = self.selected(like, num)
        order = torch.rand(num, 4, device=like.device).argsort(1)
        factors = [uniform(like, num, 1 - x, 1 + x) for x in (self.brightness, self.contrast, self.saturation)]
        return act, order, torch.stack([*factors, uniform(like, num, -self.hue, self.hue)])

    def forward(self, images: Tensor) -> Tensor:
        act, order, factors = self.sample(images, len(images))
        for kind in order.unbind(1):  # (B,)
            factor = factors.gather(0, kind[None])[0]
            # Brightness, contrast and saturation blend an image with black, its mean grey and its grey; at a factor of 1 it stays as it is.
            share = torch.where(act & (kind < HUE), factor, 1.0)
            grey = luma(images)  # (B, 1, H, W)
            mean = grey.mean((1, 2, 3)) * (kind == CONTRAST)
            other = grey.mul_(_column(kind == SATURATION)).add_(_column(mean))
            images = torch.lerp(other, images, _column(share)).clamp_(0, 1)
            if self.hue and images.shape[1] == 3:
                images = apply_where(act & (kind == HUE), images, shift_hue, factor)
        return images


CONTRAST, SATURATION, HUE = 1, 2, 3  # of the four changes of ColorJitter; brightness is 0


def _column(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """RGB images (B, 3, H, W) with their hue moved by `shift` (B,) of the colour circle; torchvision's adjust_hue.

    With h the hue in sixths of the circle, each channel is the pixel's minimum plus a part of its range: red clamp(|h - 3| - 1, 0, 1),
    green clamp(2 - |h - 2|, 0, 1), blue clamp(2 - |h - 4|, 0, 1).
    """
    red, green, blue = images.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)  # (B, H, W)
    low = torch.minimum(torch.minimum(red, green), blue)
    span = high - low
    is_red, is_green = high == red, high == green
    ahead = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    start = torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0))
    hue = ahead.div_(span.clamp(min=1e-12)).add_(start).add_(6 * shift.view(-1, 1, 1))  # a grey's is 0
    hue.sub_(hue.div(6).floor_().mul_(6))  # in [0, 6]
    parts = [(hue - 3).abs_().sub_(1), (hue - 2).abs_().neg_().add_(2), (hue - 4).abs_().neg_().add_(2)]
    return torch.stack([torch.addcmul(low, span, part.clamp_(0, 1)) for part in parts], dim=1)


def luma(images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W) of its own: ITU-R 601's grey of RGB images, as torchvision has it; the mean of other channels."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)[:, None]
