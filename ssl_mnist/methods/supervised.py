"""Supervised training: the same encoder, augmentation, optimizer and schedule with all labels of train. The ceiling, not a method without
labels.

A linear head and cross-entropy on one augmented view. What is evaluated is the encoder, by the same probes as any other.
"""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.methods.base import Method


class Supervised(Method):
    """Encoder and a linear classifier. Raises UserError for images without labels."""

    num_views = 1
    supervised: ClassVar[bool] = True
    reference: ClassVar[str | None] = "ceiling"

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        if encoder.spec.classes is None:
            raise UserError("method=supervised needs labels, and these images have none; all other methods do without")
        self.head = nn.Linear(encoder.dim, len(encoder.spec.classes))

    def forward(self, images: Tensor, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        (view,) = views
        return {"logits": self.head(self.encoder(view))}  # (B, classes)

    def loss(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        logits, labels = outputs["logits"], outputs["labels"]
        return {"loss": F.cross_entropy(logits, labels), "accuracy": (logits.argmax(1) == labels).float().mean()}
