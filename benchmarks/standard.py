"""The standard pipeline that ours is measured against: torchvision's MNIST in a DataLoader, lightly's SimCLRTransform, and the
loop of lightly's example (examples/pytorch/simclr.py in its repository), with our encoder, projector, batch size and loss.
"""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightly.loss import NTXentLoss
from lightly.transforms import SimCLRTransform
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST

from ssl_mnist.build import build
from ssl_mnist.data import Dataset, find_mnist
from ssl_mnist.encoders import Encoder
from ssl_mnist.heads import mlp
from ssl_mnist.training.device import Device

TRANSFORM = {"input_size": 28, "hf_prob": 0.0, "gaussian_blur": 0.0, "random_gray_scale": 0.0, "normalize": None}  # the encoder normalises
LR, MOMENTUM = 0.06, 0.9
STEPS, WARM = 30, 5  # of a measurement; WARM: before the clock starts, enough for the workers' queues to run dry


def model_of(encoder: Encoder, method: dict[str, Any]) -> nn.Module:
    """Images (B, 1, 28, 28) -> projections (B, projection_dim). method: the settings of SimCLR, for its widths.

    The weights are laid out as torch does by default, since `build` may have put the encoder's channels last.
    """
    model = nn.Sequential(encoder, mlp([encoder.dim, method["hidden_dim"], method["projection_dim"]]))
    return model.to(memory_format=torch.contiguous_format)


def folder(settings: dict[str, Any]) -> Path:
    """What torchvision calls root: the folder that holds MNIST/raw."""
    return find_mnist(settings["data"]["root"]).parents[1]


def loader(settings: dict[str, Any], indices: list[int], workers: int) -> DataLoader:
    dataset = Subset(MNIST(str(folder(settings)), train=True, transform=SimCLRTransform(**TRANSFORM)), indices)
    return DataLoader(dataset, batch_size=settings["pretrain"]["batch_size"], shuffle=True, drop_last=True, num_workers=workers)


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


def views_per_second(settings: dict[str, Any], dataset: Dataset, workers: int, threads: int) -> float:
    """dataset: the one that the settings name, read."""
    torch.set_num_threads(threads)
    experiment = build(settings, Device.choose("cpu", "32"), dataset)
    model = model_of(experiment.encoder, settings["method"])
    steps = train(model, loader(settings, list(range(len(dataset.train))), workers), settings["method"]["temperature"])
    for _ in range(WARM):
        next(steps)
    started = time.perf_counter()
    for _ in range(STEPS):
        next(steps)
    return STEPS * 2 * experiment.batch_size / (time.perf_counter() - started)


def candidates() -> list[tuple[int, int]]:
    """The worker and thread counts that the standard side may choose from."""
    cores = os.cpu_count() or 1
    return list(itertools.product(sorted({0, 1, 2, cores}), sorted({1, cores})))


def fastest(choices: list[tuple], speed: Callable[..., float]) -> tuple:
    """By the medians of three measurements each, in turns."""
    turns = [[speed(*choice) for choice in choices] for _ in range(3)]
    medians = [statistics.median(column) for column in zip(*turns, strict=True)]
    return choices[medians.index(max(medians))]
