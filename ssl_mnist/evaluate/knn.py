"""Weighted k-NN on frozen features (Wu et al. 2018, https://arxiv.org/abs/1805.01978, section 3.4).

k = 20 is DINO's (Caron et al. 2021, https://arxiv.org/abs/2104.14294); Wu et al. had 200. Both have a temperature of 0.07.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Features, Fitted, Labelled, Probe
from ssl_mnist.evaluate.budgets import BudgetProbe


class KNN(Probe):
    """The bank is train for val, and train + val for test."""

    keeps = False  # there is nothing to fit, and the bank is large

    def __init__(self, k: int, temperature: float) -> None:
        check(k, temperature)
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
        return {name: found.argmax(1) for name, found in self._votes(tensors, features).items()}

    def probabilities(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        return {name: found / found.sum(1, keepdim=True) for name, found in self._votes(tensors, features).items()}

    def _votes(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        bank, labels, num_classes = tensors["bank"], tensors["labels"], int(tensors["num_classes"])
        return {self.name: votes(bank, labels, features["embedding"], num_classes, self.k, self.temperature)}


class FewLabelsKNN(BudgetProbe):
    """Weighted k-NN whose bank is the n labelled images; k is n where that is less."""

    title, stem = "k-NN", "knn"
    keeps = False

    def __init__(self, num_labels: list[int], num_draws: int, k: int, temperature: float) -> None:
        super().__init__(num_labels, num_draws)
        check(k, temperature)
        self.k, self.temperature = k, temperature

    def fit_draw(self, train: Labelled, val: Labelled, drawn: Tensor, shared: None, seed: int) -> dict[str, Tensor]:
        return {"bank": train.features["embedding"][drawn], "labels": train.labels[drawn]}

    def predict_draw(self, tensors: dict[str, Tensor], features: Features) -> Tensor:
        num_classes = int(tensors["labels"].max()) + 1  # every class has labels
        return predict(tensors["bank"], tensors["labels"], features["embedding"], num_classes, self.k, self.temperature)


def check(k: int, temperature: float) -> None:
    """Raises UserError unless these can be the k and the temperature of a vote."""
    if not 1 <= k <= 1_000_000:
        raise UserError(f"k must be in 1..1,000,000, got {k}")
    if not 0 < temperature < math.inf:
        raise UserError(f"temperature must be above 0 and finite, got {temperature}")


def predict(bank: Tensor, labels: Tensor, queries: Tensor, num_classes: int, k: int, temperature: float, block: int = 500) -> Tensor:
    """(Q,) classes of queries (Q, D): those with the most votes."""
    return votes(bank, labels, queries, num_classes, k, temperature, block).argmax(1)


@torch.no_grad()
def votes(bank: Tensor, labels: Tensor, queries: Tensor, num_classes: int, k: int, temperature: float, block: int = 500) -> Tensor:
    """(Q, K) votes for each class on queries (Q, D), from a bank (N, D) with labels (N,)."""
    found = []
    for weight, positions in nearest(bank, queries, k, temperature, block):
        found.append(torch.zeros(len(weight), num_classes, device=bank.device).scatter_add_(1, labels[positions], weight))
    return torch.cat(found)


@torch.no_grad()
def nearest(bank: Tensor, queries: Tensor, k: int, temperature: float, block: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights and positions of the k nearest by cosine in a bank (N, D), for blocks of queries (Q, D): (block, k) each, the nearest first.

    A weight is exp(cosine / temperature), up to a factor of each query's own. k is capped at N.
    """
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    for part in queries.split(block):
        cosine, positions = (part @ bank.T).topk(min(k, len(bank)), dim=1)
        yield ((cosine - cosine[:, :1]) / temperature).exp(), positions  # relative to the nearest: no temperature underflows
