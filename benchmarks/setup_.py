"""What the benchmarks share: checked settings, a data set of random images, the bare training step and a clock."""

import time
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor

from ssl_mnist import config
from ssl_mnist.build import Experiment
from ssl_mnist.data import Dataset, Split
from ssl_mnist.methods.base import losses
from ssl_mnist.training.device import Device


def checked_settings(*overrides: str) -> dict[str, Any]:
    """Those of the command line `python -m ssl_mnist <overrides>`, checked as it checks them."""
    settings = config.compose(*overrides)
    config.check(settings)
    return settings


def noise(settings: dict[str, Any], num: int, device: Device) -> Dataset:
    """`num` random images to train on and 500 to validate, of the size that the settings' data have, with every class."""
    spec = instantiate(settings["data"]["spec"], _convert_="all")

    def split(size: int) -> Split:
        images = torch.randint(256, (size, spec.channels, spec.height, spec.width), dtype=torch.uint8, device=device.device)
        return Split(images, torch.arange(size, device=device.device) % len(spec.classes))

    val = split(500)
    return Dataset("noise", spec, split(num), val, read_test=lambda: val, fingerprint="0" * 16)


def bare_step(experiment: Experiment, images: Tensor, views: tuple[Tensor, ...]) -> None:
    """Forward, backward and optimizer step, in the experiment's precision, on views that are already there."""
    loss = losses(experiment.method, images, views, experiment.device.autocast())["loss"]
    experiment.optimizer.zero_grad()
    loss.backward()
    experiment.optimizer.step()


def now(device: Device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
