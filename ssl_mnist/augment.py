"""Augmentations on whole batches: images (B, C, H, W) in [0, 1] -> the same, every sample with its own parameters and its own coin.

Two kinds of op. A geometric op maps the grid of sampling points, and neighbouring geometric ops share one `grid_sample`, so
that an image is interpolated once. A pixel op maps the images. Ops act in the order in which they are named, and each acts
on a sample with probability `p`. All randomness comes from torch's generator of the images' device.

Shapes: B batch, C channels, H = W = size; a grid is (2, B, H, W), x then y, in [-1, 1] from the first pixel's edge to the last's.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Op(nn.Module):
    """One named augmentation. `p`: the probability with which it acts on a sample; `channels`: how many it needs, None for any."""

    channels: int | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"an augmentation's p must be in [0, 1], got {p}")
        self.p = p

    def coin(self, like: Tensor, num: int) -> Tensor:
        """(B,) bool: on which samples to act."""
        return torch.rand(num, device=like.device) < self.p


class GeometricOp(Op):
    def forward(self, grid: Tensor) -> Tensor:
        """Where each output pixel is to be read: (2, B, H, W) -> (2, B, H, W)."""
        raise NotImplementedError


class PixelOp(Op):
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        raise NotImplementedError


def _uniform(like: Tensor, num: int, low: float, high: float) -> Tensor:
    return torch.rand(num, device=like.device) * (high - low) + low


def _range(name: str, bounds: Sequence[float], low: float) -> tuple[float, float]:
    if len(bounds) != 2 or not low <= bounds[0] <= bounds[1]:
        raise ValueError(f"an augmentation's {name} must be [low, high] with {low} <= low <= high, got {bounds}")
    return bounds[0], bounds[1]


class Augmentation(nn.Module):
    """Named ops, applied in order. Calling it draws one view of each image; call it again for another.

    channels: of the images; omit: the name of an op to leave out, or None. Raises ValueError where an op does not fit the images,
    or where there is none to leave out.
    """

    def __init__(self, channels: int, omit: str | None, **ops: Op) -> None:
        super().__init__()
        if omit is not None and omit not in ops:
            raise ValueError(f"augmentation.omit must be null or one of {', '.join(ops)}, got {omit}")
        self.ops = nn.ModuleDict({name: op for name, op in ops.items() if name != omit})
        for name, op in self.ops.items():
            if op.channels not in (None, channels):
                raise ValueError(
                    f"augmentation.{name} needs images of {op.channels} channels, the data has {channels}: set ~augmentation.{name}"
                )

    def forward(self, images: Tensor) -> Tensor:
        geometry: list[Op] = []
        for op in self.ops.values():
            if isinstance(op, GeometricOp):
                geometry.append(op)
                continue
            images, geometry = op(warp(images, geometry)), []
        return warp(images, geometry)

    def of_kinds(self, kinds: Sequence[str]) -> list[str]:
        """Names of the ops whose class is among `kinds`."""
        return [name for name, op in self.ops.items() if type(op).__name__ in kinds]


@lru_cache(maxsize=8)
def _identity(size: int, device: torch.device) -> Tensor:
    """The grid (2, 1, H, W) that reads every pixel where it is."""
    axis = (torch.arange(size, device=device) * 2 + 1) / size - 1
    return torch.stack([axis.expand(size, size), axis[:, None].expand(size, size)])[:, None]


def warp(images: Tensor, geometry: Sequence[Op]) -> Tensor:
    """One bilinear `grid_sample` for all of `geometry`; what lies outside the image is 0.

    The first op is to act first, so its map from output to input point comes last.
    """
    if not geometry:
        return images
    grid = _identity(images.shape[-1], images.device).expand(2, len(images), -1, -1)
    for op in reversed(geometry):
        grid = op(grid)
    return F.grid_sample(images, grid.permute(1, 2, 3, 0), align_corners=False)


class Affine(GeometricOp):
    """Turn, scale, shear and shift about the image's centre.

    degrees: largest turn either way; scale: [low, high] factor of size, drawn log-uniformly for each axis around a common one;
    stretch: largest log-factor by which the axes differ; shear: largest shear either way, as a tangent; translate: largest
    shift either way, as a fraction of the size.
    """

    def __init__(self, degrees: float, scale: Sequence[float], stretch: float, shear: float, translate: float, p: float) -> None:
        super().__init__(p)
        if min(degrees, stretch, shear, translate) < 0:
            raise ValueError("augmentation.affine: degrees, stretch, shear and translate must be 0 or more")
        self.degrees, self.scale, self.stretch, self.shear, self.translate = (
            degrees,
            _range("scale", scale, 0.01),
            stretch,
            shear,
            translate,
        )

    def matrices(self, like: Tensor, num: int) -> tuple[Tensor, Tensor]:
        """Linear parts (2, 2, B) and shifts (2, B) of the maps from output to input point."""
        act = self.coin(like, num)
        angle = _uniform(like, num, -self.degrees, self.degrees) * (math.pi / 180) * act
        zoom = _uniform(like, num, math.log(self.scale[0]), math.log(self.scale[1]))
        stretch = _uniform(like, num, -self.stretch, self.stretch) / 2
        shear = _uniform(like, num, -self.shear, self.shear) * act
        shift = _uniform(like, 2 * num, -2 * self.translate, 2 * self.translate).view(2, num) * act
        x, y = torch.exp(-(zoom + stretch) * act), torch.exp(-(zoom - stretch) * act)
        cos, sin = angle.cos(), angle.sin()
        # input = diag(x, y) @ [[1, shear], [0, 1]] @ rotation(angle) @ output + shift
        linear = torch.stack([torch.stack([x * (cos + shear * sin), x * (shear * cos - sin)]), torch.stack([y * sin, y * cos])])
        return linear, shift

    def forward(self, grid: Tensor) -> Tensor:
        linear, shift = self.matrices(grid, grid.shape[1])
        (a, b), (c, d) = linear[..., None, None]
        x, y = grid
        out = torch.empty(grid.shape, device=grid.device)
        torch.addcmul(shift[0, :, None, None], a, x, out=out[0]).addcmul_(b, y)
        torch.addcmul(shift[1, :, None, None], c, x, out=out[1]).addcmul_(d, y)
        return out


class Elastic(GeometricOp):
    """Push every point by a smooth random field: uniform noise on a coarse lattice, interpolated by cubic splines.

    In the manner of Simard et al. 2003, with a spline in the Gaussian's place. strength: [low, high] of the field's largest
    possible push, as a fraction of the image's size; knots: lattice points along each axis.
    """

    def __init__(self, strength: Sequence[float], knots: int, p: float) -> None:
        super().__init__(p)
        if knots < 2:
            raise ValueError(f"augmentation.elastic.knots must be 2 or more, got {knots}")
        self.strength, self.knots = _range("strength", strength, 0.0), knots

    def forward(self, grid: Tensor) -> Tensor:
        _, num, size, _ = grid.shape
        push = 2 * _uniform(grid, num, *self.strength) * self.coin(grid, num)  # (B,), in grid units
        noise = (torch.rand(2, num, self.knots, self.knots, device=grid.device) * 2 - 1) * push[:, None, None]
        spline = _spline(self.knots, size, grid.device)  # (knots, W)
        return (spline.T @ (noise @ spline)).add_(grid)


@lru_cache(maxsize=8)
def _spline(knots: int, size: int, device: torch.device) -> Tensor:
    """(knots, size): values on a line of knots times it are a smooth curve. Cubic B-spline weights, which never overshoot."""
    position = torch.linspace(0, knots - 1, size, device=device) - torch.arange(-1, knots + 1, device=device)[:, None]
    t = position.abs()
    weights = torch.where(t < 1, 2 / 3 - t**2 + t**3 / 2, (2 - t).clamp(min=0) ** 3 / 6)  # (knots + 2, size)
    inner = weights[1:-1].clone()
    inner[0] += weights[0]  # beyond the border the lattice goes on with its last value
    inner[-1] += weights[-1]
    return inner


class RandomResizedCrop(GeometricOp):
    """Blow a random square part of the image up to full size. area: [low, high] of its area, as a fraction of the image's."""

    def __init__(self, area: Sequence[float], p: float) -> None:
        super().__init__(p)
        self.area = _range("area", area, 0.001)
        if self.area[1] > 1:
            raise ValueError(f"augmentation.crop.area must not exceed 1, got {area}")

    def forward(self, grid: Tensor) -> Tensor:
        num = grid.shape[1]
        side = torch.where(self.coin(grid, num), _uniform(grid, num, *self.area).sqrt(), 1.0)
        centre = (torch.rand(2, num, device=grid.device) * 2 - 1) * (1 - side)
        return grid * side[:, None, None] + centre[..., None, None]


class HorizontalFlip(GeometricOp):
    """Mirror left and right."""

    def forward(self, grid: Tensor) -> Tensor:
        sign = torch.where(self.coin(grid, grid.shape[1]), -1.0, 1.0)
        return torch.stack([grid[0] * sign[:, None, None], grid[1]])


class StrokeThickness(PixelOp):
    """Thicken or thin bright strokes: each sample moves by its own share, up to `strength`, towards the maximum (thicker) or the
    minimum (thinner) over each pixel's four neighbours and itself. Grey-scale dilation and erosion with a cross.
    """

    def __init__(self, strength: float, p: float) -> None:
        super().__init__(p)
        if not 0 <= strength <= 1:
            raise ValueError(f"augmentation.stroke.strength must be in [0, 1], got {strength}")
        self.strength = strength

    def forward(self, images: Tensor) -> Tensor:
        num = len(images)
        share = _uniform(images, num, -self.strength, self.strength) * self.coin(images, num)  # below 0: thinner
        sign = torch.where(share < 0, -1.0, 1.0).view(-1, 1, 1, 1)
        signed = images * sign  # the minimum is the maximum of the negative
        grown = signed.clone()
        for here, neighbour in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            torch.maximum(grown[..., here, :], signed[..., neighbour, :], out=grown[..., here, :])
            torch.maximum(grown[..., here], signed[..., neighbour], out=grown[..., here])
        return signed.lerp_(grown, share.abs().view(-1, 1, 1, 1)).mul_(sign)


class Erasing(PixelOp):
    """Black out a rectangle (Zhong et al. 2020). side: [low, high] of each side, as a fraction of the image's size."""

    def __init__(self, side: Sequence[float], p: float) -> None:
        super().__init__(p)
        self.side = _range("side", side, 0.0)

    def forward(self, images: Tensor) -> Tensor:
        num, size = len(images), images.shape[-1]
        axis = torch.arange(size, device=images.device) + 0.5
        inside = []
        for _ in range(2):
            side = _uniform(images, num, *self.side) * size
            start = torch.rand(num, device=images.device) * (size - side)
            inside.append((axis > start[:, None]) & (axis < (start + side)[:, None]))  # (B, size)
        rows, columns = inside
        box = rows[:, :, None] & columns[:, None, :] & self.coin(images, num)[:, None, None]  # (B, H, W)
        return images.masked_fill(box[:, None], 0.0)


class ColorJitter(PixelOp):
    """Brightness, contrast and saturation, each drawn from [1 - x, 1 + x] as in torchvision; saturation needs colour images."""

    def __init__(self, brightness: float, contrast: float, saturation: float, p: float) -> None:
        super().__init__(p)
        if min(brightness, contrast, saturation) < 0 or max(brightness, contrast, saturation) > 1:
            raise ValueError("augmentation.jitter: brightness, contrast and saturation must be in [0, 1]")
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.channels = 3 if saturation else None

    def forward(self, images: Tensor) -> Tensor:
        num = len(images)
        act = self.coin(images, num)

        def factor(width: float) -> Tensor:
            return torch.where(act, _uniform(images, num, 1 - width, 1 + width), 1.0).view(-1, 1, 1, 1)

        images = images * factor(self.brightness)
        mean = images.mean((1, 2, 3), keepdim=True)
        images = mean + (images - mean) * factor(self.contrast)
        if self.saturation:
            grey = images.mean(1, keepdim=True)
            images = grey + (images - grey) * factor(self.saturation)
        return images.clamp(0, 1)
