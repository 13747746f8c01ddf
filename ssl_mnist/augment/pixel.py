"""Pixel augmentations: each maps the images (B, C, H, W) themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.augment.base import PixelOp, apply_where_, check_bounds, check_range, uniform


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
        return thicken(images, uniform(images, num, -self.strength, self.strength) * self.selected(images, num))


def thicken(images: Tensor, share: Tensor) -> Tensor:
    """Images blended with their maximum over each pixel and its four neighbours by a share (B,) in [-1, 1]; below 0, their minimum."""
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
        images = images.clone(memory_format=torch.contiguous_format)  # each channel's values side by side: quicker on a CPU
        num_blends = HUE if images.shape[1] == 3 else SATURATION
        for kind in order.unbind(1):  # (B,)
            factor = factors.gather(0, kind[None])[0]
            # Brightness, contrast and saturation blend an image with black, its mean grey and its grey; at a factor of 1 it stays as it is.
            share = torch.where(act & (kind < num_blends), factor, 1.0)
            grey = luma(images)  # (B, 1, H, W)
            mean = grey.mean((1, 2, 3)) * (kind == CONTRAST) * (1 - share)
            other = grey.mul_(_column((kind == SATURATION) * (1 - share))).add_(_column(mean))
            images.mul_(_column(share)).add_(other).clamp_(0, 1)
            if self.hue and images.shape[1] == 3:
                images = apply_where_(images, act & (kind == HUE), shift_hue, factor)
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
    is_red = (high == red).float()  # weights of 0 and 1: quicker on a CPU than torch.where
    is_green = (high == green).float().mul_(1 - is_red)
    is_blue = 1 - is_red - is_green
    ahead = (green - blue).mul_(is_red).addcmul_(blue - red, is_green).addcmul_(red - green, is_blue)
    hue = ahead.div_(span.clamp(min=1e-12)).add_(is_green, alpha=2).add_(is_blue, alpha=4).add_(6 * shift.view(-1, 1, 1))
    hue.sub_(hue.div(6).floor_().mul_(6))  # in [0, 6]
    parts = [(hue - 3).abs_().sub_(1), (hue - 2).abs_().neg_().add_(2), (hue - 4).abs_().neg_().add_(2)]
    return torch.stack([torch.addcmul(low, span, part.clamp_(0, 1)) for part in parts], dim=1)


class Grayscale(PixelOp):
    """Take the colour away: all three channels become the image's grey. Images of one channel stay as they are."""

    channels = (1, 3)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] == 1:
            return images
        return apply_where_(images.clone(), self.selected(images, len(images)), lambda some: luma(some).expand_as(some))


class GaussianBlur(PixelOp):
    """Blur with a Gaussian of a standard deviation sampled per image; torchvision's gaussian_blur, the image reflected at its border.

    sigma: [low, high] of the standard deviation, in pixels, sampled uniformly; kernel: width of the Gaussian's support as a fraction of
    the image's shorter side, rounded to an odd number of pixels, at least 3. SimCLR has sigma [0.1, 2.0] and kernel 0.1.
    """

    def __init__(self, sigma: Sequence[float], kernel: float, p: float) -> None:
        super().__init__(p)
        self.sigma = check_range("sigma", sigma, 0.01, 1000)
        check_bounds(0, 1, kernel=kernel)
        self.kernel = kernel

    def forward(self, images: Tensor) -> Tensor:
        act = self.selected(images, len(images))
        radius = max(int(self.kernel * min(images.shape[2:]) / 2), 1)
        sigma = uniform(images, len(images), *self.sigma)
        return apply_where_(images.clone(), act, lambda some, sigma: blur(some, sigma, radius), sigma)


def blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Gaussian blur over 2 radius + 1 pixels along each axis, of standard deviation `sigma` (B,)."""
    distance = torch.arange(radius + 1, device=images.device)
    weights = torch.exp(-0.5 * (distance / sigma[:, None]) ** 2)  # (B, radius + 1), of the pixel and of its neighbours on either side
    weights /= weights.sum(1, keepdim=True) * 2 - 1
    for axis in (3, 2):
        size = images.shape[axis]
        padded = F.pad(images, (radius, radius, 0, 0) if axis == 3 else (0, 0, radius, radius), mode="reflect")
        images = images * _column(weights[:, 0])
        for step in range(1, radius + 1):
            pair = padded.narrow(axis, radius - step, size) + padded.narrow(axis, radius + step, size)
            images.addcmul_(pair, _column(weights[:, step]))
    return images.clamp_(max=1)  # rounding


class Solarize(PixelOp):
    """Invert the values from `threshold` on: x becomes 1 - x."""

    def __init__(self, threshold: float, p: float) -> None:
        super().__init__(p)
        check_bounds(0, 1, threshold=threshold)
        self.threshold = threshold

    def forward(self, images: Tensor) -> Tensor:
        act = self.selected(images, len(images))
        return apply_where_(images.clone(), act, lambda some: torch.where(some >= self.threshold, 1 - some, some))


def luma(images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W) of its own: ITU-R 601's grey of RGB images, as torchvision has it; the mean of other channels."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)[:, None]
