"""Splits and draws: stratified, by a fixed seed of their own, the same in every run and on every machine."""

import numpy as np
import torch
from torch import Tensor

from ssl_mnist.data.spec import Split, as_float
from ssl_mnist.data.stored import Images
from ssl_mnist.errors import UserError

SPLIT_SEED = 0  # of the split alone; a run's seed never changes it


def class_counts(split: Split, classes: list[str]) -> list[int]:
    """How many images of each class; raises UserError where there is none of one."""
    assert split.labels is not None
    counts = torch.bincount(split.labels, minlength=len(classes)).tolist()
    if not all(counts):
        raise UserError(f"the data holds no image of class {classes[counts.index(0)]}")
    return counts


def examples(split: Split, classes: list[str] | None, num: int = 10) -> Tensor:
    """The first image of each of the first `num` classes, or the first images where there are no labels, (num, C, H, W) in [0, 1]."""
    if classes is None or split.labels is None:
        return as_float(split.images[:num])
    first = [int((split.labels == k).nonzero()[0]) for k in range(min(len(classes), num))]
    return as_float(split.images[torch.tensor(first, device=split.labels.device)])


def describe(splits: dict[str, Split], classes: list[str] | None) -> str:
    """Sizes in words."""
    if classes is None:
        return ", ".join(f"{name} {len(split):,}" for name, split in splits.items()) + " images without labels"
    counts = {name: class_counts(split, classes) for name, split in splits.items()}
    return ", ".join(f"{name} {sum(each):,} ({min(each):,} to {max(each):,} a class)" for name, each in counts.items())


def sizes(splits: dict[str, Split], classes: list[str] | None) -> dict[str, float]:
    """Size and balance of each split, flat: `data/train_size`, `data/train_imbalance` (the largest class over the smallest)."""
    totals: dict[str, float] = {f"data/{name}_size": len(split) for name, split in splits.items()}
    if classes is None:
        return totals
    counts = {name: class_counts(split, classes) for name, split in splits.items()}
    return totals | {f"data/{name}_imbalance": max(each) / min(each) for name, each in counts.items()}


def steps_per_epoch(images: Images, batch_size: int) -> int:
    """Full batches in one pass."""
    return len(images) // batch_size


def random_part(split: Split, num: int) -> Tensor:
    """Positions of `num` images, or of all where they are fewer: at random, stratified where there are labels, always the same."""
    num = min(num, len(split))
    if split.labels is not None:
        return stratified(split.labels, num)[1]
    return torch.from_numpy(np.sort(np.random.RandomState(SPLIT_SEED).permutation(len(split))[:num]))


def stratified(labels: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Indices of the rest and of `num` examples, of each class in proportion to its size (largest remainders)."""
    share = torch.bincount(labels).cpu().double() * num / len(labels)
    counts = share.floor().long()
    counts[(share - counts).argsort(descending=True, stable=True)[: num - int(counts.sum())]] += 1
    drawn = draw(labels, counts.tolist(), SPLIT_SEED)
    is_rest = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
    is_rest[drawn] = False
    return is_rest.nonzero()[:, 0], (~is_rest).nonzero()[:, 0]


def check_shares(val: float, test: float) -> None:
    """Raises UserError unless these can be the shares of val and test."""
    for name, share in {"val": val, "test": test}.items():
        if not 0 < share < 0.5:
            raise UserError(f"data.{name} must be a share above 0 and below 0.5, got {share}")


def three_parts(labels: np.ndarray | None, num: int, shares: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of train, val and test among `num` images, each in order; stratified where there are labels (num,).

    shares: of val and of test. One that is above 0 gets an image of each class that has enough to leave train two of it.
    """
    order = np.random.RandomState(SPLIT_SEED).permutation(num)
    groups = [order] if labels is None else [order[labels[order] == k] for k in np.unique(labels)]
    parts: list[list[np.ndarray]] = [[], [], []]
    for group in groups:
        room, taken = len(group) - 1, []
        for share in shares:
            here = min(max(round(share * len(group)), 1 if share else 0), max(room, 0))
            taken.append(here)
            room -= here
        val, test, train = np.split(group, np.cumsum(taken))
        for part, members in zip(parts, (train, val, test), strict=True):
            part.append(members)
    train, val, test = (np.sort(np.concatenate(part)) for part in parts)
    return train, val, test


def draw(labels: Tensor, counts: list[int], seed: int) -> Tensor:
    """Indices of counts[k] examples of each class k, at random; the same on every machine and in every run."""
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(labels))).to(labels.device)  # numpy never changes its stream
    return torch.cat([order[labels[order] == k][:num] for k, num in enumerate(counts)])
