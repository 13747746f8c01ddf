"""Weighted k-NN on frozen features (Wu et al. 2018, https://arxiv.org/abs/1805.01978, section 3.4).

k = 20 is DINO's (Caron et al. 2021, https://arxiv.org/abs/2104.14294); Wu et al. had 200. Both have a temperature of 0.07.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Features, Fitted, Labelled, Probe


class KNN(Probe):
    """The bank is train for val, and train + val for test."""

    keeps = False  # there is nothing to fit, and the bank is large

    def __init__(self, k: int, temperature: float) -> None:
        if not 1 <= k <= 1_000_000:
            raise UserError(f"k must be in 1..1,000,000, got {k}")
        if not 0 < temperature < math.inf:
            raise UserError(f"temperature must be above 0 and finite, got {temperature}")
        self.k, self.temperature = k, temperature

    def titles(self) -> dict[str, str]:
        return {self.name: f"k-NN, k = {self.k}"}

    def fit(self, train: Labelled, val: Labelled) -> Fitted:
        first = {"bank": train.features["embedding"], "labels": train.labels, "num_classes": torch.tensor(train.num_classes)}
        both = {
            "bank": torch.cat([train.features["embedding"], val.features["embedding"]]),
            "labels": torch.cat([train.labels, val.labels]),
        }
        return Fitted(self, first | both, self.predict(first, val.features))

    def predict(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        return {name: votes.argmax(1) for name, votes in self._votes(tensors, features).items()}

    def probabilities(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        return {name: votes / votes.sum(1, keepdim=True) for name, votes in self._votes(tensors, features).items()}

    def _votes(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        bank, labels, num_classes = tensors["bank"], tensors["labels"], int(tensors["num_classes"])
        return {self.name: votes(bank, labels, features["embedding"], num_classes, self.k, self.temperature)}


def predict(bank: Tensor, labels: Tensor, queries: Tensor, num_classes: int, k: int, temperature: float, block: int = 500) -> Tensor:
    """(Q,) classes of queries (Q, D): those with the most votes."""
    return votes(bank, labels, queries, num_classes, k, temperature, block).argmax(1)


@torch.no_grad()
def votes(bank: Tensor, labels: Tensor, queries: Tensor, num_classes: int, k: int, temperature: float, block: int = 500) -> Tensor:
    """(Q, K) votes for each class on queries (Q, D), from a bank (N, D) with labels (N,).

    Each of the k nearest by cosine votes for its class with weight exp(cosine / temperature), up to a common factor. k is capped at N.
    """
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    found = []
    for part in queries.split(block):
        cosine, nearest = (part @ bank.T).topk(min(k, len(bank)), dim=1)  # (block, k)
        weight = ((cosine - cosine[:, :1]) / temperature).exp()  # relative to the nearest: no temperature underflows
        found.append(torch.zeros(len(part), num_classes, device=bank.device).scatter_add_(1, labels[nearest], weight))
    return torch.cat(found)
