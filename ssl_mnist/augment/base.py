"""Augmentations on whole batches: images (B, C, H, W) in [0, 1] -> the same; parameters and on/off are sampled per image.

Two kinds of op. A geometric op maps the grid of sampling points, and neighbouring geometric ops share one `grid_sample`, so that an
image is interpolated once. A pixel op maps the images. Ops act in the order in which they are named, each on an image with probability
`p`; one whose p is 0 takes no time and no random numbers. All randomness comes from torch's generator of the images' device.

Shapes: B batch, C channels, H and W image size; a grid is (2, B, H, W), x then y, in [-1, 1] from the first pixel's edge to the last's.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_mnist.data import ImageSpec
from ssl_mnist.errors import UserError

PADDINGS = ("zeros", "border", "reflection")


class Op(nn.Module):
    """One named augmentation. p: the probability with which it acts on an image; channels: the numbers it can work on, None for any."""

    channels: tuple[int, ...] | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UserError(f"an augmentation's p must be in [0, 1], got {p}")
        self.p = p

    def selected(self, like: Tensor, num: int) -> Tensor:
        """(B,) bool: the images to act on."""
        return torch.rand(num, device=like.device) < self.p


class GeometricOp(Op):
    def forward(self, grid: Tensor) -> Tensor:
        """Where each output pixel is to be read: (2, B, H, W) -> (2, B, H, W)."""
        raise NotImplementedError


class PixelOp(Op):
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        raise NotImplementedError


def uniform(like: Tensor, num: int, low: float, high: float) -> Tensor:
    """(num,) numbers in [low, high), on the device of `like`."""
    return torch.rand(num, device=like.device) * (high - low) + low


def log_uniform(like: Tensor, num: int, low: float, high: float) -> Tensor:
    """(num,) numbers in [low, high) whose logarithms are uniform. Where low is high, no random numbers are drawn."""
    if low == high:
        return torch.full((num,), float(low), device=like.device)
    return uniform(like, num, math.log(low), math.log(high)).exp()


def apply_where_(images: Tensor, act: Tensor, change: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """`change(images, *parameters)` for the images to act on, the others as they are: (B, C, H, W). May write to `images`.

    act: (B,) bool; parameters: one row an image. On the CPU only those images are computed. A GPU computes all: to count them would
    have the program wait for it.
    """
    if images.device.type != "cpu":
        return torch.where(act.view(-1, 1, 1, 1), change(images, *parameters), images)
    index = act.nonzero()[:, 0]
    return images.index_copy_(0, index, change(images[index], *(parameter[index] for parameter in parameters)))


def check_range(name: str, bounds: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """bounds as (low, high). Raises UserError unless low <= bounds[0] <= bounds[1] <= high."""
    if len(bounds) != 2 or not low <= bounds[0] <= bounds[1] <= high:
        raise UserError(f"an augmentation's {name} must be [low, high] with {low} <= low <= high <= {high}, got {list(bounds)}")
    return bounds[0], bounds[1]


def check_bounds(low: float, high: float, **values: float) -> None:
    """Raises UserError, naming the setting, for a value outside [low, high] or not a number."""
    for name, value in values.items():
        if not (math.isfinite(value) and low <= value <= high):
            raise UserError(f"an augmentation's {name} must be in [{low}, {high}], got {value}")


class Augmentation(nn.Module):
    """Named ops, applied in order. Each call returns one new view of each image.

    spec: of the images; omit: the name of an op to leave out, or None; padding: what geometric ops read outside the image, zeros (black),
    border (the nearest pixel) or reflection. Raises UserError where an op does not fit the images, or where there is none to leave out.
    """

    def __init__(self, spec: ImageSpec, omit: str | None, padding: str, **ops: Op) -> None:
        super().__init__()
        for name, op in ops.items():
            if not isinstance(op, GeometricOp | PixelOp):
                raise UserError(f"augmentation.{name} must be a GeometricOp or a PixelOp of ssl_mnist.augment, got {type(op).__name__}")
            if op.channels and spec.channels not in op.channels:
                needed = " or ".join(map(str, op.channels))
                raise UserError(
                    f"augmentation.{name} needs images of {needed} channels, the data has {spec.channels}: set ~augmentation.{name}"
                )
        if omit is not None and omit not in ops:
            raise UserError(f"augmentation.omit must be null or one of {', '.join(ops) or 'none: there are no ops'}, got {omit}")
        if padding not in PADDINGS:
            raise UserError(f"augmentation.padding must be one of {', '.join(PADDINGS)}, got {padding}")
        self.padding = padding
        self.ops = nn.ModuleDict({name: op for name, op in ops.items() if name != omit})

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), in memory of its own."""
        views = images
        geometry: list[Op] = []
        for op in self.ops.values():
            if op.p == 0:
                continue
            if isinstance(op, GeometricOp):
                geometry.append(op)
                continue
            views, geometry = op(warp(views, geometry, self.padding)), []
        views = warp(views, geometry, self.padding)
        return views.clone() if views is images else views

    def of_kinds(self, kinds: Sequence[str]) -> list[str]:
        """Names of the ops whose class is among `kinds` and whose p is above 0."""
        return [name for name, op in self.ops.items() if op.p != 0 and type(op).__name__ in kinds]


@lru_cache(maxsize=8)
def identity_grid(height: int, width: int, device: torch.device) -> Tensor:
    """The grid (2, 1, H, W) that reads every pixel where it is."""
    x, y = ((torch.arange(size, device=device) * 2 + 1) / size - 1 for size in (width, height))
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])[:, None]


def warp(images: Tensor, geometry: Sequence[Op], padding: str) -> Tensor:
    """One bilinear `grid_sample` for all of `geometry`. padding: as of `Augmentation`.

    The first op is to act first, so its map from output to input point comes last.
    """
    if not geometry:
        return images
    grid = identity_grid(images.shape[2], images.shape[3], images.device).expand(2, len(images), -1, -1)
    for op in reversed(geometry):
        grid = op(grid)
    return F.grid_sample(images, grid.permute(1, 2, 3, 0), padding_mode=padding, align_corners=False)
