"""The standard pipeline that ours is measured against: torchvision's MNIST in a DataLoader, lightly's SimCLRTransform, and the
loop of lightly's example (examples/pytorch/simclr.py in its repository), with our encoder, projector, batch size and loss.
"""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from lightly.loss import NTXentLoss
from lightly.transforms import SimCLRTransform
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST

from ssl_mnist.heads import mlp

TRANSFORM = {"input_size": 28, "hf_prob": 0.0, "gaussian_blur": 0.0, "random_gray_scale": 0.0, "normalize": None}  # the encoder normalises
LR, MOMENTUM = 0.06, 0.9
STEPS, WARM = 30, 5  # of a measurement; WARM: before the clock starts, enough for the workers' queues to run dry


def model_of(encoder: nn.Module, hidden_dim: int, projection_dim: int) -> nn.Module:
    """Images (B, 1, 28, 28) -> projections (B, projection_dim)."""
    return nn.Sequential(encoder, mlp([encoder.dim, hidden_dim, projection_dim]))


def loader(root: Path, indices: list[int], batch_size: int, workers: int) -> DataLoader:
    dataset = Subset(MNIST(str(root), train=True, transform=SimCLRTransform(**TRANSFORM)), indices)
    return DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True, num_workers=workers)


def train(model: nn.Module, batches: DataLoader, temperature: float) -> Iterator[None]:
    """The example's loop without an end; yields after each step."""
    criterion = NTXentLoss(temperature=temperature)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    while True:
        for (x0, x1), _ in batches:
            loss = criterion(model(x0), model(x1))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            yield


def views_per_second(encoder: nn.Module, method, root: Path, indices: list[int], batch_size: int, workers: int, threads: int) -> float:
    """method: the config of SimCLR, for its widths and its temperature."""
    torch.set_num_threads(threads)
    model = model_of(encoder, method.hidden_dim, method.projection_dim)
    steps = train(model, loader(root, indices, batch_size, workers), method.temperature)
    for _ in range(WARM):
        next(steps)
    started = time.perf_counter()
    for _ in range(STEPS):
        next(steps)
    return STEPS * 2 * batch_size / (time.perf_counter() - started)


def settings() -> list[tuple[int, int]]:
    """The worker and thread counts that the standard side may choose from."""
    cores = os.cpu_count() or 1
    return list(itertools.product(sorted({0, 1, 2, cores}), sorted({1, cores})))


def fastest(candidates: list[tuple], speed: Callable[..., float]) -> tuple:
    """By the medians of three measurements each, in turns."""
    turns = [[speed(*candidate) for candidate in candidates] for _ in range(3)]
    medians = [statistics.median(column) for column in zip(*turns, strict=True)]
    return candidates[medians.index(max(medians))]
