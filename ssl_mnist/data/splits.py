"""Splits and draws: stratified, by a fixed seed of their own, the same in every run and on every machine."""

import numpy as np
import torch
from torch import Tensor

from ssl_mnist.data.spec import Split, as_float
from ssl_mnist.errors import UserError

SPLIT_SEED = 0  # of the split alone; a run's seed never changes it


def class_counts(split: Split, classes: list[str]) -> list[int]:
    """How many images of each class; raises UserError where there is none of one."""
    counts = torch.bincount(split.labels, minlength=len(classes)).tolist()
    if not all(counts):
        raise UserError(f"the data holds no image of class {classes[counts.index(0)]}")
    return counts


def one_of_each_class(split: Split, classes: list[str]) -> Tensor:
    """The first image of each of the first 10 classes, (num_classes, C, H, W) in [0, 1], to look at."""
    return as_float(torch.stack([split.images[split.labels == i][0] for i in range(min(len(classes), 10))]))


def describe(counts: dict[str, list[int]]) -> str:
    return ", ".join(f"{split} {sum(numbers):,} ({min(numbers):,} to {max(numbers):,} a class)" for split, numbers in counts.items())


def sizes(counts: dict[str, list[int]]) -> dict[str, float]:
    """Size and balance of each split, flat: `data/train_size`, `data/train_imbalance` (the largest class over the smallest)."""
    totals = {f"data/{split}_size": sum(numbers) for split, numbers in counts.items()}
    return totals | {f"data/{split}_imbalance": max(numbers) / min(numbers) for split, numbers in counts.items()}


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Full batches in one pass; raises UserError where not even one fits."""
    if batch_size > len(split):
        raise UserError(f"pretrain.batch_size must be at most the {len(split):,} training images, got {batch_size:,}")
    return len(split) // batch_size


def stratified(labels: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Indices of the rest and of `num` examples, of each class in proportion to its size (largest remainders)."""
    share = torch.bincount(labels).cpu().double() * num / len(labels)
    counts = share.floor().long()
    counts[(share - counts).argsort(descending=True, stable=True)[: num - int(counts.sum())]] += 1
    drawn = draw(labels, counts.tolist(), SPLIT_SEED)
    is_rest = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
    is_rest[drawn] = False
    return is_rest.nonzero()[:, 0], (~is_rest).nonzero()[:, 0]


def draw(labels: Tensor, counts: list[int], seed: int) -> Tensor:
    """Indices of counts[k] examples of each class k, at random; the same on every machine and in every run."""
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(labels))).to(labels.device)  # numpy never changes its stream
    return torch.cat([order[labels[order] == k][:num] for k, num in enumerate(counts)])
