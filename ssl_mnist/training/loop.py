"""The pretraining loop: a generator of metrics. A method is handed images and nothing else, so no label can leak into it.

The one exception is a method whose class says `supervised = True`: the reference that is trained with labels.
"""

import itertools
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
from ssl_mnist.training.state import Progress

if TYPE_CHECKING:
    from ssl_mnist.build import Experiment

RESERVED = ("lr", "images_per_second", "epoch_loss")  # names of the loop's own metrics


class Diverged(UserError):
    """The loss is not finite."""


def pretrain(experiment: "Experiment") -> Iterator[dict[str, float]]:
    """The rows of metrics that `steps` yields, from the beginning to the end."""
    return (row for row in steps(experiment, Progress()) if row is not None)


def steps(experiment: "Experiment", progress: Progress) -> Iterator[dict[str, float] | None]:
    """Train `experiment.method` in place on the images that its data set pretrains on, (N, C, H, W) uint8, from `progress` on.

    Yields after each step, with `progress` moved on, so that the training can be saved or ended there: None, or about every `log_every`
    steps (an epoch is cut into equal windows) a row of metrics: `step`, `epoch` (a fraction while it runs),
    `pretrain/lr`, `pretrain/images_per_second`, and the mean over the window of each term the method measured, `pretrain/<name>`; at an
    epoch's end also `pretrain/epoch_loss`, the mean over the epoch. An epoch is one random order of the images, its incomplete last batch
    left out. Random numbers depend on the seed, the step and the rank alone; of several ranks each sees its part of every batch. Raises
    Diverged at a loss that is not finite, naming its step.
    """
    images, labels, method, optimizer = experiment.images, experiment.labels, experiment.method, experiment.optimizer
    batch_size, epochs, ranks = experiment.batch_size, experiment.epochs, experiment.ranks
    steps_per_epoch = len(images) // batch_size
    window_ends = _window_ends(steps_per_epoch, experiment.log_every)
    if progress.step == 0:
        method.prepare(images)
    method.train()
    for epoch in range(1 + progress.step // steps_per_epoch, epochs + 1):
        shuffle = torch.Generator().manual_seed(seed_for(experiment.seed, "order", epoch))
        order = torch.randperm(len(images), generator=shuffle)
        order = order.to(images.device) if isinstance(images, Tensor) else order
        done = progress.step % steps_per_epoch
        since, timed = time.perf_counter(), 0
        mine = ranks.part(order[done * batch_size :], batch_size)
        rest = map(as_float, batches(images, mine, batch_size // ranks.num))  # (B, C, H, W) each
        classes = _classes(labels, mine, batch_size // ranks.num)
        for index, (batch, batch_labels) in enumerate(zip(rest, classes, strict=False), done + 1):
            torch.manual_seed(seed_for(experiment.seed, "views", progress.step, ranks.rank))  # of views, and of what the method samples
            method.before_step(progress.step / experiment.num_steps)
            with torch.no_grad():
                views = tuple(experiment.augmentation(batch) for _ in range(method.num_views))
            terms = losses(method, batch, views, experiment.device.autocast(), batch_labels)
            optimizer.zero_grad()
            terms["loss"].backward()
            ranks.average_gradients(method)
            optimizer.step()
            lr = optimizer.param_groups[0]["lr"]
            experiment.schedule.step()
            progress.step += 1
            timed += 1
            method.after_step(progress.step / experiment.num_steps)
            progress.pending.append(ranks.average(terms))
            if index not in window_ends:
                yield None
                continue
            values = _values(progress.pending)
            bad = next((i for i, loss in enumerate(values["loss"]) if not math.isfinite(loss)), None)
            if bad is not None:
                where = progress.step - len(progress.pending) + 1 + bad
                raise Diverged(
                    f"the loss became {values['loss'][bad]} at step {where} (epoch {epoch}); last good metrics: {progress.last}. "
                    "Try a lower optimizer.lr, precision=32, or augmentation=none to see which of them is the cause"
                )
            progress.epoch_losses += values["loss"]
            means = {f"pretrain/{name}": sum(numbers) / len(numbers) for name, numbers in values.items() if numbers}
            metrics = {
                "step": progress.step,
                "epoch": progress.step / steps_per_epoch,
                **means,
                "pretrain/lr": lr,
                "pretrain/images_per_second": timed * batch_size / (time.perf_counter() - since),
            }
            if index == steps_per_epoch:
                metrics["pretrain/epoch_loss"] = sum(progress.epoch_losses) / len(progress.epoch_losses)
                progress.epoch_losses = []
            words = ", ".join(f"{name.removeprefix('pretrain/')} {value:.4g}" for name, value in means.items())
            progress.last, progress.pending = f"step {progress.step}, {words}", []
            yield metrics
            since, timed = time.perf_counter(), 0
    method.eval()


def _classes(labels: Tensor | None, order: Tensor, batch_size: int) -> Iterator[Tensor | None]:
    """Of labels (N,), those of each batch of an order; without labels, None for ever."""
    if labels is None:
        return itertools.repeat(None)
    return iter(labels[order.to(labels.device)].split(batch_size))


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
