"""SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709): two views of an image attract, all other images repel."""

import math

import torch
from lightly.loss import NTXentLoss
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError, check_width
from ssl_mnist.heads import mlp
from ssl_mnist.methods.base import Method


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
    projects = True

    def __init__(self, encoder: Encoder, temperature: float, hidden_dim: int, projection_dim: int) -> None:
        super().__init__(encoder)
        if not 1e-8 <= temperature < math.inf:  # NTXentLoss refuses less
            raise UserError(f"method.temperature must be at least 1e-8 and finite, got {temperature}")
        check_width("method.hidden_dim", hidden_dim)
        check_width("method.projection_dim", projection_dim)
        self.projector = mlp([encoder.dim, hidden_dim, projection_dim])
        self.criterion = NTXentLoss(temperature=temperature, gather_distributed=True)  # negatives of all ranks, where there are several

    def project(self, embeddings: Tensor) -> Tensor:
        return self.projector(embeddings)

    def forward(self, images: Tensor, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        z0, z1 = self.project(self.encoder(torch.cat(views))).chunk(2)  # (B, P) each
        return {"z0": z0, "z1": z1}

    def loss(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        z0, z1 = outputs["z0"], outputs["z1"]
        with torch.no_grad():
            positive, negative = similarities(z0, z1)
        return {"loss": self.criterion(z0, z1), "positive_similarity": positive, "negative_similarity": negative}
