"""Which images a probe gets wrong, and which lie far from their class: what the figures of errors show.

Shapes: N images, M images of train, D dimensions, K classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Confused(NamedTuple):
    """Images of one class that a probe takes for one other."""

    true: int
    predicted: int
    images: Tensor  # (count,) their positions


def confused_pairs(labels: Tensor, predicted: Tensor, num: int) -> list[Confused]:
    """The `num` most frequent pairs of a true and a predicted class among the errors, the most frequent first; labels, predicted: (N,)."""
    wrong = (labels != predicted).nonzero()[:, 0]
    if not len(wrong):
        return []
    pairs = torch.stack([labels[wrong], predicted[wrong]], dim=1)  # (errors, 2)
    found, which, counts = pairs.unique(dim=0, return_inverse=True, return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:num].tolist()
    classes = found.tolist()
    return [Confused(classes[i][0], classes[i][1], wrong[which == i]) for i in order]


class Furthest(NamedTuple):
    """The images whose embeddings are least like their class, the furthest first."""

    images: Tensor  # (num,) positions
    distances: Tensor  # (num,) cosine distances to the mean of their own class
    nearest: Tensor  # (num,) the class whose mean is nearest


def furthest(embeddings: Tensor, labels: Tensor, bank: Tensor, bank_labels: Tensor, num_classes: int, num: int) -> Furthest:
    """The `num` of N images with the largest cosine distance to their class's mean.

    embeddings (N, D) and labels (N,) of the images; bank (M, D) and bank_labels (M,) of train, from which the means are: each that of
    the class's embeddings at length 1. A distance is 1 minus the cosine, from 0 to 2.
    """
    unit = F.normalize(bank.float(), dim=1)
    sums = torch.zeros(num_classes, bank.shape[1], device=bank.device).index_add_(0, bank_labels, unit)
    means, queries = F.normalize(sums, dim=1), F.normalize(embeddings.float(), dim=1)  # (K, D), (N, D)
    distance = 1 - (queries * means[labels]).sum(1)
    far = distance.topk(min(num, len(distance))).indices
    return Furthest(far, distance[far], (queries[far] @ means.T).argmax(1))
