"""Rotation prediction, RotNet (Gidaris et al. 2018, https://arxiv.org/abs/1803.07728): tell by how much an image was turned."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_mnist.encoders import Encoder
from ssl_mnist.methods import Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANGLES = (0, 90, 180, 270)  # degrees, counter-clockwise


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Each image (B, C, H, H) turned counter-clockwise by its own number of quarter turns (B,), an integer in 0..3; exact."""
    turned = torch.stack([torch.rot90(images, k, dims=(2, 3)) for k in range(4)])  # (4, B, C, H, H)
    return turned[turns, torch.arange(len(images), device=images.device)]


class Rotation(Method):
    """One view of each image, turned by one of four angles drawn for it; a linear head names the angle (equations 1 to 3)."""

    num_views = 1

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, len(ANGLES))

    def forward(self, images: Tensor, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        (view,) = views
        turns = torch.randint(len(ANGLES), (len(view),), device=view.device)
        logits = self.head(self.encoder(rotate(view, turns))).float()  # (B, 4)
        correct = logits.argmax(1) == turns  # (B,)
        terms = {"loss": F.cross_entropy(logits, turns), "accuracy": correct.float().mean()}
        for k, angle in enumerate(ANGLES):
            drawn = turns == k
            terms[f"accuracy_{angle}"] = (correct & drawn).sum() / drawn.sum().clamp(min=1)
        return terms

    def figures(self, images: Tensor) -> "dict[str, Figure]":
        from ssl_mnist.plots import image_grid

        turns = torch.arange(len(images), device=images.device) % len(ANGLES)
        turned = rotate(images, turns)
        predicted = self.head(self.encoder(turned)).argmax(1)
        titles = [f"{ANGLES[t]}° → {ANGLES[p]}°" for t, p in zip(turns.tolist(), predicted.tolist(), strict=True)]
        wrong = (turns != predicted).tolist()
        rows = [range(i, i + 8) for i in range(0, len(images) - 7, 8)]
        figure = image_grid(
            [turned[list(row)] for row in rows],
            titles=[[titles[i] for i in row] for row in rows],
            marked=[[wrong[i] for i in row] for row in rows],
            title="Rotation drawn → predicted (mistakes in red)",
        )
        return {"rotation_predictions": figure}
