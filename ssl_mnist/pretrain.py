"""The pretraining loop: a generator of metrics. It is handed images and nothing else, so no label can leak into it."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ssl_mnist.augment import Augmentation
from ssl_mnist.data import as_float
from ssl_mnist.engine import Engine
from ssl_mnist.methods import Method


def pretrain(
    method: Method,
    images: Tensor,
    augmentation: Augmentation,
    optimizer: Optimizer,
    schedule: LRScheduler,
    engine: Engine,
    epochs: int,
    batch_size: int,
    log_every: int,
) -> Iterator[dict[str, float]]:
    """Train `method` in place on images (N, C, H, W) uint8, already on its device.

    Yields, about every `log_every` steps (an epoch is cut into equal windows), `step`, `epoch` (a fraction while it
    runs), `pretrain/lr`, `pretrain/images_per_second`, and the mean over the window of each term the method returns,
    `pretrain/<name>`; at an epoch's end also `pretrain/epoch_loss`, the mean over the epoch. An epoch is one random
    order of the images, its incomplete last batch left out. Raises FloatingPointError at a loss that is not finite, naming its step.
    """
    steps_per_epoch = len(images) // batch_size
    num_windows = max(1, round(steps_per_epoch / log_every))
    window_ends = {round(steps_per_epoch * (i + 1) / num_windows) for i in range(num_windows)}
    last = "none yet"
    step = 0
    method.train()
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(images), device=images.device)
        pending: list[dict[str, Tensor]] = []
        losses: list[float] = []
        since = time.perf_counter()
        for index in range(steps_per_epoch):
            batch = as_float(images[order[index * batch_size : (index + 1) * batch_size]])  # (B, C, H, W)
            with torch.no_grad():
                views = tuple(augmentation(batch) for _ in range(method.num_views))
            with engine.autocast():
                terms = method(batch, views)
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            lr = optimizer.param_groups[0]["lr"]
            schedule.step()
            step += 1
            method.after_step(step / (epochs * steps_per_epoch))
            pending.append({name: value.detach() for name, value in terms.items()})
            if index + 1 not in window_ends:
                continue
            values = {name: torch.stack([terms[name].float() for terms in pending]).tolist() for name in terms}
            bad = next((i for i, loss in enumerate(values["loss"]) if not abs(loss) < float("inf")), None)
            if bad is not None:
                where = step - len(pending) + 1 + bad
                raise FloatingPointError(
                    f"the loss became {values['loss'][bad]} at step {where} (epoch {epoch}); last good metrics: {last}. "
                    "Try a lower optimizer.lr or precision=32"
                )
            losses += values["loss"]
            means = {f"pretrain/{name}": sum(numbers) / len(numbers) for name, numbers in values.items()}
            metrics = {
                "step": step,
                "epoch": step / steps_per_epoch,
                **means,
                "pretrain/lr": lr,
                "pretrain/images_per_second": len(pending) * batch_size / (time.perf_counter() - since),
            }
            if index + 1 == steps_per_epoch:
                metrics["pretrain/epoch_loss"] = sum(losses) / len(losses)
            last = f"step {step}, " + ", ".join(f"{name.removeprefix('pretrain/')} {value:.4g}" for name, value in means.items())
            yield metrics
            pending, since = [], time.perf_counter()
    method.eval()
