"""Weighted k-NN on frozen features, as Wu et al. 2018 (https://arxiv.org/abs/1805.01978, section 3.4) do it."""

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def predict(bank: Tensor, labels: Tensor, queries: Tensor, num_classes: int, k: int, temperature: float, block: int = 500) -> Tensor:
    """(Q,) classes of queries (Q, D), from a bank (N, D) with labels (N,).

    Each of the k nearest by cosine votes for its class with weight exp(cosine / temperature). k is capped at N.
    """
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    votes = []
    for part in queries.split(block):
        cosine, nearest = (part @ bank.T).topk(min(k, len(bank)), dim=1)  # (block, k)
        weight = ((cosine - 1) / temperature).exp()  # the -1 changes no vote and overflows nowhere
        votes.append(torch.zeros(len(part), num_classes, device=bank.device).scatter_add_(1, labels[nearest], weight).argmax(1))
    return torch.cat(votes)
