"""SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709): two views of one image attract, all other images repel."""

import torch
from lightly.loss import NTXentLoss
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.encoders import Encoder
from ssl_mnist.heads import mlp
from ssl_mnist.methods import Method


def similarities(z0: Tensor, z1: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosine similarity of the positive pairs and of all negative pairs among the 2 B projections, both scalars.

    z0, z1: (B, P). Negatives without the 2 B x 2 B matrix: the sum of all dot products is the squared norm of the sum.
    """
    z0, z1 = F.normalize(z0, dim=1), F.normalize(z1, dim=1)
    num = len(z0)
    positives = (z0 * z1).sum()
    total = (z0.sum(0) + z1.sum(0)).square().sum()  # over all ordered pairs, each with itself included
    negatives = (total - 2 * num - 2 * positives) / (2 * num * (2 * num - 2))
    return positives / num, negatives


class SimCLR(Method):
    """Encoder, projector and NT-Xent (equation 1), the loss as lightly implements it.

    temperature: tau of equation 1; hidden_dim, projection_dim: widths of the projector's hidden layer and output.
    """

    num_views = 2

    def __init__(self, encoder: Encoder, temperature: float, hidden_dim: int, projection_dim: int) -> None:
        super().__init__(encoder)
        if temperature <= 0:
            raise ValueError(f"method.temperature must be above 0, got {temperature}")
        self.projector = mlp([encoder.dim, hidden_dim, projection_dim])
        self.criterion = NTXentLoss(temperature=temperature)

    def forward(self, images: Tensor, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        z0, z1 = self.projector(self.encoder(torch.cat(views))).float().chunk(2)  # (B, P) each
        with torch.autocast(z0.device.type, enabled=False):  # a softmax over 2 B logits wants more than 8 bits of mantissa
            loss = self.criterion(z0, z1)
        with torch.no_grad():
            positive, negative = similarities(z0, z1)
        return {"loss": loss, "positive_similarity": positive, "negative_similarity": negative}
