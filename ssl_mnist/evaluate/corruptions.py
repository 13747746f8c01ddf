"""Corruptions of images, each at several strengths, after Hendrycks and Dietterich 2019 (https://arxiv.org/abs/1903.12261).

They are made by the augmentations' own batched code, at a fixed strength. What is left to chance (the noise, which way an image is
turned, where it is covered) has a seed of its own. All runs and all strengths of a corruption see the same draws, so that neither the
accuracies of two encoders nor those at two strengths differ by chance.

Shapes: B batch, N images, C channels, H and W image size.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ssl_mnist.augment import Erasing, GeometricOp
from ssl_mnist.augment.base import warp
from ssl_mnist.augment.geometric import move
from ssl_mnist.augment.pixel import blur, luma, thicken
from ssl_mnist.data import Images, as_float, chunks
from ssl_mnist.errors import UserError
from ssl_mnist.training.seeds import seed_for

SEED = 0  # of all corruptions; a run's seed never changes it
BATCH = 1000


class Corruption:
    """Base of all corruptions. title: what a strength is, with its unit; none: the strength that leaves an image as it is."""

    title: str
    none = 0.0

    def __init__(self, strengths: list[float], low: float, high: float) -> None:
        """Raises UserError unless there is a strength and each lies in [low, high]."""
        if not strengths or not all(low <= strength <= high for strength in strengths):
            raise UserError(f"strengths must be a list of numbers in [{low:g}, {high:g}], got {strengths}")
        self.strengths = strengths

    def change(self, images: Tensor, strength: float) -> Tensor:
        """(B, C, H, W) in [0, 1] -> the same, corrupted."""
        raise NotImplementedError

    def batches(self, images: Images, strength: float) -> Iterator[Tensor]:
        """Corrupted copies of images (N, C, H, W) uint8, of the same type and batch by batch."""
        for i, batch in enumerate(chunks(images, BATCH)):
            with torch.random.fork_rng():
                torch.manual_seed(seed_for(SEED, f"corruption {type(self).__name__}", i))
                changed = self.change(as_float(batch), strength)
            yield changed.clamp_(0, 1).mul_(255).round_().byte()


def signs(images: Tensor) -> Tensor:
    """(B,): -1 or 1 for each image."""
    return torch.where(torch.rand(len(images), device=images.device) < 0.5, -1.0, 1.0)


class Noise(Corruption):
    """Gaussian noise, of its own in each pixel and channel."""

    title = "standard deviation (white: 1)"

    def __init__(self, std: list[float]) -> None:
        super().__init__(std, 0, 10)

    def change(self, images: Tensor, strength: float) -> Tensor:
        return images + strength * torch.randn_like(images)


class Blur(Corruption):
    """Gaussian blur, the image reflected at its border."""

    title = "standard deviation, pixels"

    def __init__(self, sigma: list[float]) -> None:
        super().__init__(sigma, 0, 100)

    def change(self, images: Tensor, strength: float) -> Tensor:
        if strength == 0:
            return images
        radius = min(math.ceil(3 * strength), min(images.shape[2:]) - 1)
        return blur(images, images.new_full((len(images),), strength), radius)


class Fixed(GeometricOp):
    """Given affine maps in place of random ones: linear (2, 2, B) and shift (2, B) as of `move`."""

    def __init__(self, linear: Tensor, shift: Tensor) -> None:
        super().__init__(p=1)
        self.linear, self.shift = linear, shift

    def forward(self, grid: Tensor) -> Tensor:
        return move(grid, self.linear, self.shift)


class Geometric(Corruption):
    """An affine map for each image; what it reads outside the image is black."""

    def maps(self, images: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """Linear parts (2, 2, B) and shifts (2, B) from output to input point, both in pixels."""
        raise NotImplementedError

    def change(self, images: Tensor, strength: float) -> Tensor:
        linear, shift = self.maps(images, strength)
        size = shift.new_tensor([images.shape[3], images.shape[2]])  # the grid is 2 wide and 2 high
        return warp(images, [Fixed(linear, 2 * shift / size[:, None])], "zeros")


def diagonal(x: Tensor) -> Tensor:
    """(B,) -> (2, 2, B): x times the identity."""
    return torch.stack([torch.stack([x, torch.zeros_like(x)]), torch.stack([torch.zeros_like(x), x])])


class Shift(Geometric):
    """A shift, each image in a direction of its own."""

    title = "distance, pixels"

    def __init__(self, pixels: list[float]) -> None:
        super().__init__(pixels, 0, 1000)

    def maps(self, images: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        angle = torch.rand(len(images), device=images.device) * (2 * math.pi)
        return diagonal(torch.ones_like(angle)), strength * torch.stack([angle.cos(), angle.sin()])


class Rotation(Geometric):
    """A rotation about the centre, each image to the left or to the right."""

    title = "angle, degrees"

    def __init__(self, degrees: list[float]) -> None:
        super().__init__(degrees, 0, 180)

    def maps(self, images: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        angle = signs(images) * math.radians(strength)
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])]), torch.zeros_like(angle).expand(2, -1)


class Scale(Geometric):
    """Each image larger or smaller by a factor, about the centre."""

    title, none = "factor, larger or smaller", 1.0

    def __init__(self, factor: list[float]) -> None:
        super().__init__(factor, 1, 100)

    def maps(self, images: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        factor = strength ** signs(images)
        return diagonal(factor), torch.zeros_like(factor).expand(2, -1)


class Stroke(Corruption):
    """Strokes thicker or thinner, each image one of the two: grey-scale dilation or erosion with a cross, repeated; a fraction of a pixel
    is a blend."""

    title = "pixels on each side, thicker or thinner"

    def __init__(self, pixels: list[float]) -> None:
        super().__init__(pixels, 0, 100)

    def change(self, images: Tensor, strength: float) -> Tensor:
        sign = signs(images)
        while strength > 0:
            images = thicken(images, sign * min(strength, 1))
            strength -= 1
        return images


class Occlusion(Corruption):
    """A black square at a random place of each image; where the image is not square, a rectangle of its shape."""

    title = "side of the square, share of the image's"

    def __init__(self, side: list[float]) -> None:
        super().__init__(side, 0, 1)

    def change(self, images: Tensor, strength: float) -> Tensor:
        return Erasing([strength, strength], p=1)(images)


class Contrast(Corruption):
    """Each pixel's distance to the image's mean grey, times a factor."""

    title, none = "factor", 1.0

    def __init__(self, factor: list[float]) -> None:
        super().__init__(factor, 0, 1)

    def change(self, images: Tensor, strength: float) -> Tensor:
        mean = luma(images).mean((2, 3), keepdim=True)  # (B, 1, 1, 1)
        return mean + strength * (images - mean)
