"""The pretraining loop: a generator of metrics. It is handed images and nothing else, so no label can leak into it."""

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ssl_mnist.data import as_float, batches
from ssl_mnist.errors import UserError
from ssl_mnist.methods.base import losses
from ssl_mnist.training.seeds import seed_for

if TYPE_CHECKING:
    from ssl_mnist.build import Experiment

RESERVED = ("lr", "images_per_second", "epoch_loss")  # names of the loop's own metrics


class Diverged(UserError):
    """The loss is not finite."""


def pretrain(experiment: "Experiment") -> Iterator[dict[str, float]]:
    """Train `experiment.method` in place on the images that its data set pretrains on, (N, C, H, W) uint8.

    Yields, about every `log_every` steps (an epoch is cut into equal windows), `step`, `epoch` (a fraction while it runs),
    `pretrain/lr`, `pretrain/images_per_second`, and the mean over the window of each term the method measured, `pretrain/<name>`; at an
    epoch's end also `pretrain/epoch_loss`, the mean over the epoch. An epoch is one random order of the images, its incomplete last batch
    left out. Random numbers depend on the seed and the step alone. Raises Diverged at a loss that is not finite, naming its step.
    """
    images, method, optimizer = experiment.dataset.to_pretrain, experiment.method, experiment.optimizer
    batch_size, epochs = experiment.batch_size, experiment.epochs
    steps_per_epoch = len(images) // batch_size
    window_ends = _window_ends(steps_per_epoch, experiment.log_every)
    step = 0
    last = "none yet"
    method.train()
    for epoch in range(1, epochs + 1):
        shuffle = torch.Generator().manual_seed(seed_for(experiment.seed, "order", epoch))
        order = torch.randperm(len(images), generator=shuffle)
        order = order.to(images.device) if isinstance(images, Tensor) else order
        pending: list[dict[str, Tensor]] = []
        epoch_losses: list[float] = []
        since = time.perf_counter()
        for index, batch in enumerate(map(as_float, batches(images, order, batch_size))):  # (B, C, H, W)
            torch.manual_seed(seed_for(experiment.seed, "views", step))  # of views, and of what the method samples
            method.before_step(step / experiment.num_steps)
            with torch.no_grad():
                views = tuple(experiment.augmentation(batch) for _ in range(method.num_views))
            terms = losses(method, batch, views, experiment.device.autocast())
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            lr = optimizer.param_groups[0]["lr"]
            experiment.schedule.step()
            step += 1
            method.after_step(step / experiment.num_steps)
            pending.append({name: value.detach() for name, value in terms.items()})
            if index + 1 not in window_ends:
                continue
            values = _values(pending)
            bad = next((i for i, loss in enumerate(values["loss"]) if not math.isfinite(loss)), None)
            if bad is not None:
                where = step - len(pending) + 1 + bad
                raise Diverged(
                    f"the loss became {values['loss'][bad]} at step {where} (epoch {epoch}); last good metrics: {last}. "
                    "Try a lower optimizer.lr, precision=32, or augmentation=none to see which of them is the cause"
                )
            epoch_losses += values["loss"]
            means = {f"pretrain/{name}": sum(numbers) / len(numbers) for name, numbers in values.items() if numbers}
            metrics = {
                "step": step,
                "epoch": step / steps_per_epoch,
                **means,
                "pretrain/lr": lr,
                "pretrain/images_per_second": len(pending) * batch_size / (time.perf_counter() - since),
            }
            if index + 1 == steps_per_epoch:
                metrics["pretrain/epoch_loss"] = sum(epoch_losses) / len(epoch_losses)
            last = f"step {step}, " + ", ".join(f"{name.removeprefix('pretrain/')} {value:.4g}" for name, value in means.items())
            yield metrics
            pending, since = [], time.perf_counter()
    method.eval()


def _window_ends(steps_per_epoch: int, log_every: int) -> set[int]:
    """The steps of an epoch, counted from 1, after which metrics are yielded."""
    num_windows = max(1, round(steps_per_epoch / log_every))
    return {round(steps_per_epoch * (i + 1) / num_windows) for i in range(num_windows)}


def _values(pending: list[dict[str, Tensor]]) -> dict[str, list[float]]:
    """The numbers of each term over some steps, without those steps in which a term other than the loss was not measured (nan)."""
    values: dict[str, list[float]] = {}
    for name in dict.fromkeys(name for terms in pending for name in terms):
        if name in RESERVED:
            raise UserError(f"the method's loss() returns a term named {name}, a name of the loop's own; give it another")
        numbers = torch.stack([terms[name].float() for terms in pending if name in terms]).tolist()
        values[name] = [number for number in numbers if name == "loss" or not math.isnan(number)]
    return values
