"""Encoders without a weight to train: the pixels themselves, and their principal components. The floors under every method.

Shapes: N images, P = C H W pixels, D = dim.
"""

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ssl_mnist.data import Images, ImageSpec
from ssl_mnist.encoders.base import Encoder, Features
from ssl_mnist.errors import UserError

MAX_MATRIX = 4096  # pixels up to which the whole covariance matrix is made; 3 x 36 x 36 fits
OVERSAMPLING, PASSES, MAX_IMAGES = 16, 4, 20_000  # of the randomised decomposition


class _Fixed(Encoder):
    """No weight is drawn, so that there is nothing an untrained one of its kind lacks."""

    def untrained(self) -> Encoder:
        return copy.deepcopy(self).cpu()


class Pixels(_Fixed):
    """The image itself, flattened, in [0, 1]: not standardised, since the linear probes do that to every embedding."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__(spec)
        self.dim = spec.channels * spec.height * spec.width

    def features(self, images: Tensor) -> Features:
        self.check(images)
        return Features(images.flatten(1))


class PCA(_Fixed):
    """Principal components of the pixels (Pearson 1901): x -> W (x - mean), the rows of W the leading eigenvectors of train's covariance.

    Not whitened: cosine similarities weigh a component by its variance, and the linear probes standardise anyway. It knows nothing before
    `prepare` has seen images; until then every feature is nan.

    num_components: D, or as many as there are pixels where these are fewer.
    """

    components: Tensor  # (D, P), rows of length 1, the one with the largest variance first
    pixel_mean: Tensor  # (P,)

    def __init__(self, num_components: int, spec: ImageSpec) -> None:
        super().__init__(spec)
        if not 2 <= num_components <= 4096:
            raise UserError(f"encoder.num_components must be in 2..4,096, got {num_components}")
        pixels = spec.channels * spec.height * spec.width
        self.dim = min(num_components, pixels)
        self.register_buffer("components", torch.full((self.dim, pixels), torch.nan))
        self.register_buffer("pixel_mean", torch.zeros(pixels))

    def features(self, images: Tensor) -> Features:
        self.check(images)
        return Features((images.flatten(1) - self.pixel_mean) @ self.components.T)

    @torch.no_grad()
    def prepare(self, images: Images) -> None:
        """Find the components of images (N, C, H, W) uint8, read in batches. The same images give the same components."""
        mean, components = principal_components(images, self.dim)
        self.pixel_mean.copy_(mean)
        self.components.copy_(components)


def principal_components(images: Images, num: int) -> tuple[Tensor, Tensor]:
    """The mean (P,) of images (N, C, H, W) uint8 in [0, 1] and their first `num` components (num, P), float64 on the CPU.

    By the eigenvectors of the covariance matrix. Of more than 4,096 pixels by randomised subspace iteration, which never makes that matrix
    (Halko et al. 2011, https://arxiv.org/abs/0909.4061, algorithm 4.4), on at most 20,000 of the images, at equal distances. A component's
    sign is that of its largest entry.
    """
    pixels = images.shape[1:].numel()
    step = math.ceil(len(images) / MAX_IMAGES) if pixels > MAX_MATRIX else 1
    rows = torch.arange(0, len(images), step)
    sums = [batch.flatten(1).sum(0).cpu() for batch in _batches(images, rows)]  # of whole numbers: exact on every device
    mean = torch.stack(sums).sum(0).double() / len(rows) / 255
    if pixels <= MAX_MATRIX:
        components = torch.linalg.eigh(_covariance_times(images, rows, mean, None))[1].flip(1)[:, :num]  # (P, num)
    else:
        width = min(num + OVERSAMPLING, pixels)
        basis = torch.randn(pixels, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for _ in range(PASSES):
            basis = torch.linalg.qr(_covariance_times(images, rows, mean, basis))[0]
        small = basis.T @ _covariance_times(images, rows, mean, basis)  # (width, width)
        components = basis @ torch.linalg.eigh((small + small.T) / 2)[1].flip(1)[:, :num]
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    return mean, (components * largest.sign()).T


def _covariance_times(images: Images, rows: Tensor, mean: Tensor, matrix: Tensor | None) -> Tensor:
    """The covariance of the pixels (P, P) of some rows times a matrix (P, K), or, without one, the covariance itself.

    Products of a batch are made where the images are, in float64 on CUDA, whose float32 may be TF32, and in float32 elsewhere (MPS has no
    float64); the sum over batches is in float64.
    """
    total = torch.zeros((), dtype=torch.float64)
    for batch in _batches(images, rows):
        wide = torch.float64 if batch.device.type == "cuda" else torch.float32
        centred = batch.flatten(1).to(wide) / 255 - mean.to(wide).to(batch.device)  # (B, P)
        other = centred if matrix is None else centred @ matrix.to(wide).to(batch.device)
        total = total + (centred.T @ other).cpu().double()
    return total / len(rows)


def _batches(images: Images, rows: Tensor) -> Iterator[Tensor]:
    for part in rows.split(1000):
        yield images[part.to(images.device) if isinstance(images, Tensor) else part]
