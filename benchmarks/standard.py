"""The standard pipeline that ours is measured against: torchvision's data sets in a DataLoader, lightly's SimCLRTransform, and the
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
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets import ImageFolder

from ssl_mnist.build import build
from ssl_mnist.data import Dataset as OurDataset
from ssl_mnist.encoders import Encoder
from ssl_mnist.heads import mlp
from ssl_mnist.training.device import Device

# The encoder normalises. Blur is off on small images (SimCLR, appendix B.9), and what flips or changes colours is on for RGB alone.
GREY = {"hf_prob": 0.0, "gaussian_blur": 0.0, "random_gray_scale": 0.0, "normalize": None}
RGB = {"cj_strength": 0.5, "gaussian_blur": 0.0, "normalize": None}
LR, MOMENTUM = 0.06, 0.9
WARM = 5  # steps before the clock starts, enough for the workers' queues to run dry
STEPS, SECONDS = 30, 15  # of a measurement, which ends with the first of them that is over, but not before MIN_STEPS
MIN_STEPS = 4


class InMemory(Dataset):
    """Images by index, as torchvision's MNIST, CIFAR10 and their like give them: rows of an array that become Pillow's images."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, transform: Callable) -> None:
        """images: (N, C, H, W) uint8; labels: (N,)."""
        self.data, self.targets, self.transform = images.permute(0, 2, 3, 1).squeeze(-1).numpy(), labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


def model_of(encoder: Encoder, method: dict[str, Any]) -> nn.Module:
    """Images (B, C, H, W) -> projections (B, projection_dim). method: the settings of SimCLR, for its widths.

    The weights are laid out as torch does by default, since `build` may have put the encoder's channels last.
    """
    model = nn.Sequential(encoder, mlp([encoder.dim, method["hidden_dim"], method["projection_dim"]]))
    return model.to(memory_format=torch.contiguous_format)


def loader(settings: dict[str, Any], dataset: OurDataset, workers: int) -> DataLoader:
    """Batches of two views each of the images of train: from their files where the settings name a folder, else from memory."""
    spec, source = dataset.spec, settings["data"]
    transform = SimCLRTransform(input_size=spec.height, **(GREY if spec.channels == 1 else RGB))
    if "image_folder" in source["_target_"]:
        root = Path(source["root"])
        files = ImageFolder(str(root / "train" if (root / "train").is_dir() else root), transform)
        images: Dataset = Subset(files, torch.randperm(len(files))[: len(dataset.train)].tolist())
    else:
        assert dataset.train.labels is not None
        images = InMemory(dataset.train.images[:], dataset.train.labels, transform)
    return DataLoader(images, batch_size=settings["pretrain"]["batch_size"], shuffle=True, drop_last=True, num_workers=workers)


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


def views_per_second(settings: dict[str, Any], dataset: OurDataset, workers: int, threads: int) -> float:
    """dataset: the one that the settings name, read."""
    torch.set_num_threads(threads)
    experiment = build(settings, Device.choose("cpu", "32"), dataset)
    model = model_of(experiment.encoder, settings["method"])
    steps = train(model, loader(settings, dataset, workers), settings["method"]["temperature"])
    for _ in range(WARM):
        next(steps)
    started = time.perf_counter()
    for step in range(1, STEPS + 1):
        next(steps)
        seconds = time.perf_counter() - started
        if step >= MIN_STEPS and seconds > SECONDS:
            break
    return step * 2 * experiment.batch_size / seconds


def candidates() -> list[tuple[int, int]]:
    """The worker and thread counts that the standard side may choose from."""
    cores = os.cpu_count() or 1
    return list(itertools.product(sorted({0, 1, 2, cores}), sorted({1, cores})))


def fastest(choices: list[tuple], speed: Callable[..., float]) -> tuple:
    """By the medians of three measurements each, in turns; those slower than 0.8 of the fastest in the first turn take part no more."""
    speeds = {choice: [speed(*choice)] for choice in choices}
    limit = 0.8 * max(first for (first,) in speeds.values())
    speeds = {choice: found for choice, found in speeds.items() if found[0] >= limit}
    for _ in range(2 if len(speeds) > 1 else 0):
        for choice, found in speeds.items():
            found.append(speed(*choice))
    return max(speeds, key=lambda choice: statistics.median(speeds[choice]))
