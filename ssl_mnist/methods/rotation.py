"""Rotation prediction, RotNet (Gidaris et al. 2018, https://arxiv.org/abs/1803.07728): predict by how much an image was rotated."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.methods.base import Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANGLES = (0, 90, 180, 270)  # degrees, counter-clockwise


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Each image (B, C, H, H) rotated counter-clockwise by its own number of quarter turns (B,), an integer in 0..3; exact."""
    rotated = torch.stack([torch.rot90(images, k, dims=(2, 3)) for k in range(4)])  # (4, B, C, H, H)
    return rotated[turns, torch.arange(len(images), device=images.device)]


class Rotation(Method):
    """One view of each image, rotated by one of four angles; a linear head classifies the rotation (equations 1 to 3)."""

    num_views = 1
    chance: ClassVar[dict[str, float]] = {"accuracy": 1 / len(ANGLES), **{f"accuracy_{angle}": 1 / len(ANGLES) for angle in ANGLES}}

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        if encoder.spec.height != encoder.spec.width:
            raise UserError(f"method=rotation needs square images, the data has {encoder.spec.height} x {encoder.spec.width}")
        self.head = nn.Linear(encoder.dim, len(ANGLES))

    def forward(self, images: Tensor, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        (view,) = views
        turns = torch.randint(len(ANGLES), (len(view),), device=view.device)
        return {"logits": self.head(self.encoder(rotate(view, turns))), "turns": turns}  # (B, 4), (B,)

    def loss(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        logits, turns = outputs["logits"], outputs["turns"]
        correct = (logits.argmax(1) == turns).float()  # (B,)
        terms = {"loss": F.cross_entropy(logits, turns), "accuracy": correct.mean()}
        for k, angle in enumerate(ANGLES):
            drawn = turns == k
            terms[f"accuracy_{angle}"] = (correct * drawn).sum() / drawn.sum()  # nan where the angle was not drawn
        return terms

    def figures(self, images: Tensor) -> "dict[str, Figure]":
        from ssl_mnist.plots import image_grid

        turns = torch.arange(len(images), device=images.device) % len(ANGLES)
        rotated = rotate(images, turns)
        predicted = self.head(self.encoder(rotated)).argmax(1)
        titles = [f"{ANGLES[t]}° → {ANGLES[p]}°" for t, p in zip(turns.tolist(), predicted.tolist(), strict=True)]
        wrong = (turns != predicted).tolist()
        rows = [range(i, i + 8) for i in range(0, len(images) - 7, 8)]
        figure = image_grid(
            [rotated[list(row)] for row in rows],
            titles=[[titles[i] for i in row] for row in rows],
            marked=[[wrong[i] for i in row] for row in rows],
            title="Rotation → prediction (errors in red)",
        )
        return {"rotation_predictions": figure}
