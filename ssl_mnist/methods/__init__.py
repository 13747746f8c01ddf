"""The methods, one file each; `Method` says what each of them is.

A new method is one file here and one YAML file in `conf/method/`; nothing else names it.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ssl_mnist.encoders import Encoder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Method(nn.Module):
    """A pretext task around an encoder: it owns its heads and its loss, and all its state is in `state_dict`."""

    num_views: int  # augmented views it wants of each image

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Scalars by name; `loss` is minimised and every one is logged as `pretrain/<name>`.

        images: (B, C, H, W) in [0, 1], as they are; views: `num_views` times (B, C, H, W) in [0, 1], augmented.
        """
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called after each optimizer step; progress in (0, 1]. Only methods with a teacher need it."""

    def figures(self, images: Tensor) -> "dict[str, Figure]":
        """What the method can show of itself on a few images (N, C, H, W) in [0, 1]; called in eval mode, without gradients."""
        return {}

    def draw(self, images: Tensor) -> "dict[str, Figure]":
        """`figures`, in eval mode and without gradients."""
        self.eval()
        with torch.no_grad():
            return self.figures(images)
