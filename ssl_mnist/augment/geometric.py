"""Geometric augmentations: each maps the grid of sampling points (2, B, H, W).

The grid is 2 wide and 2 high whatever the image's shape. Where an image is not square, rotations, shears, displacements and crops are
scaled by H and W, so that they are what they say in pixels.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ssl_mnist.augment.base import GeometricOp, check_bounds, check_range, log_uniform, uniform


class Affine(GeometricOp):
    """Rotate, scale, shear and shift about the image's centre.

    degrees: largest rotation either way; scale: [low, high] factor of size, drawn log-uniformly for each axis around a common one;
    stretch: largest log-factor by which the axes differ; shear: largest shear either way, as a tangent; translate: largest
    shift either way, as a fraction of the size.
    """

    def __init__(self, degrees: float, scale: Sequence[float], stretch: float, shear: float, translate: float, p: float) -> None:
        super().__init__(p)
        check_bounds(0, 360, degrees=degrees)
        check_bounds(0, 10, stretch=stretch, shear=shear, translate=translate)
        self.scale = check_range("scale", scale, 0.01, 100)
        self.degrees, self.stretch, self.shear, self.translate = degrees, stretch, shear, translate

    def matrices(self, like: Tensor, num: int) -> tuple[Tensor, Tensor]:
        """Linear parts (2, 2, B), of pixels, and shifts (2, B), of the grid, of the maps from output to input point."""
        act = self.selected(like, num)
        angle = uniform(like, num, -self.degrees, self.degrees) * (math.pi / 180) * act
        zoom = uniform(like, num, math.log(self.scale[0]), math.log(self.scale[1]))
        stretch = uniform(like, num, -self.stretch, self.stretch) / 2
        shear = uniform(like, num, -self.shear, self.shear) * act
        shift = uniform(like, 2 * num, -2 * self.translate, 2 * self.translate).view(2, num) * act
        x, y = torch.exp(-(zoom + stretch) * act), torch.exp(-(zoom - stretch) * act)
        cos, sin = angle.cos(), angle.sin()
        # input = diag(x, y) @ [[1, shear], [0, 1]] @ rotation(angle) @ output + shift
        linear = torch.stack([torch.stack([x * (cos + shear * sin), x * (shear * cos - sin)]), torch.stack([y * sin, y * cos])])
        return linear, shift

    def forward(self, grid: Tensor) -> Tensor:
        return move(grid, *self.matrices(grid, grid.shape[1]))


def move(grid: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """The grid under affine maps from output to input point: linear parts (2, 2, B), of pixels, and shifts (2, B), of the grid."""
    (a, b), (c, d) = linear[..., None, None]
    height, width = grid.shape[2:]
    b, c = b * (height / width), c * (width / height)  # from pixels to the grid; 1.0 where the image is square
    x, y = grid
    out = torch.empty(grid.shape, device=grid.device)
    torch.addcmul(shift[0, :, None, None], a, x, out=out[0]).addcmul_(b, y)
    torch.addcmul(shift[1, :, None, None], c, x, out=out[1]).addcmul_(d, y)
    return out


class Elastic(GeometricOp):
    """Elastic deformation: every point moves by a smooth random field, uniform noise on a coarse lattice, interpolated by cubic splines.

    After Simard et al. 2003, with a spline in place of the Gaussian. strength: [low, high] of the largest possible displacement, as a
    fraction of the image's shorter side; knots: lattice points along that side, the longer one has as many a pixel.
    """

    def __init__(self, strength: Sequence[float], knots: int, p: float) -> None:
        super().__init__(p)
        check_bounds(2, 64, knots=knots)
        self.strength, self.knots = check_range("strength", strength, 0, 10), knots

    def forward(self, grid: Tensor) -> Tensor:
        _, num, height, width = grid.shape
        short = min(height, width)
        push = 2 * uniform(grid, num, *self.strength) * self.selected(grid, num)  # (B,), in grid units of the shorter side
        push = torch.stack([push * (short / width), push * (short / height)])  # (2, B)
        vertical, horizontal = (round((self.knots - 1) * size / short) + 1 for size in (height, width))
        noise = (torch.rand(2, num, vertical, horizontal, device=grid.device) * 2 - 1) * push[..., None, None]
        rows, columns = _spline(vertical, height, grid.device), _spline(horizontal, width, grid.device)  # (knots, H), (knots, W)
        return (rows.T @ (noise @ columns)).add_(grid)


@lru_cache(maxsize=8)
def _spline(knots: int, size: int, device: torch.device) -> Tensor:
    """(knots, size): cubic B-spline weights that interpolate a row of knots smoothly, without overshoot."""
    position = torch.linspace(0, knots - 1, size, device=device) - torch.arange(-1, knots + 1, device=device)[:, None]
    t = position.abs()
    weights = torch.where(t < 1, 2 / 3 - t**2 + t**3 / 2, (2 - t).clamp(min=0) ** 3 / 6)  # (knots + 2, size)
    inner = weights[1:-1].clone()
    inner[0] += weights[0]  # beyond the border the lattice goes on with its last value
    inner[-1] += weights[-1]
    return inner


class RandomResizedCrop(GeometricOp):
    """Random crop, resized to the image size.

    area: [low, high] of its area, as a fraction of the image's; aspect: [low, high] of its width over its height, both in pixels, sampled
    log-uniformly. As torchvision's RandomResizedCrop, with two differences: a side longer than the image's is cut to it, where torchvision
    samples again, up to ten times, and then takes the centre; and sides and place are not rounded to whole pixels.
    """

    def __init__(self, area: Sequence[float], aspect: Sequence[float], p: float) -> None:
        super().__init__(p)
        self.area = check_range("area", area, 0.001, 1)
        self.aspect = check_range("aspect", aspect, 0.01, 100)

    def forward(self, grid: Tensor) -> Tensor:
        _, num, height, width = grid.shape
        act = self.selected(grid, num)
        side = uniform(grid, num, *self.area).sqrt()  # (B,), of the square crop of that area
        stretch = (log_uniform(grid, num, *self.aspect) * (height / width)).sqrt()  # 1.0 for a square crop of a square image
        sides = torch.stack([side * stretch, side / stretch]).clamp(max=1)  # (2, B), fractions of W and H
        sides = torch.where(act, sides, 1.0)
        centre = (torch.rand(2, num, device=grid.device) * 2 - 1) * (1 - sides)
        return grid * sides[..., None, None] + centre[..., None, None]


class HorizontalFlip(GeometricOp):
    """Mirror left and right (a reflection about the vertical axis)."""

    def forward(self, grid: Tensor) -> Tensor:
        sign = torch.where(self.selected(grid, grid.shape[1]), -1.0, 1.0)
        return torch.stack([grid[0] * sign[:, None, None], grid[1]])
