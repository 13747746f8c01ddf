"""Autoencoder (Hinton and Salakhutdinov 2006; denoising: Vincent et al. 2008): encode an image and reconstruct it.

The encoder sees an augmented view. The target is the image without augmentation (`target: image`, the denoising form), or the view
itself (`target: view`, the plain autoencoder). With `augmentation=none` the two are the same.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError, check_width
from ssl_mnist.methods.base import Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Autoencoder(Method):
    """Encoder, a linear code of `code_dim` numbers, and the encoder's mirror image as decoder; mean squared error a pixel (white = 1)."""

    num_views = 1
    projects = True

    def __init__(self, encoder: Encoder, code_dim: int, target: str) -> None:
        super().__init__(encoder)
        if target not in ("image", "view"):
            raise UserError(f"method.target must be image or view, got {target!r}")
        check_width("method.code_dim", code_dim)
        self.target = target
        self.code = nn.Linear(encoder.dim, code_dim)
        self.decoder = nn.Sequential(nn.Linear(code_dim, encoder.dim), nn.ReLU(inplace=True), encoder.decoder())

    def project(self, embeddings: Tensor) -> Tensor:
        """The code."""
        return self.code(embeddings)

    def reconstruct(self, views: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), both in [0, 1]."""
        return self.decoder(self.code(self.encoder(views)))

    def forward(self, images: Tensor, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        (view,) = views
        return {"reconstruction": self.reconstruct(view), "target": images if self.target == "image" else view}

    def loss(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(outputs["reconstruction"], outputs["target"])}

    def figures(self, images: Tensor) -> "dict[str, Figure]":
        from ssl_mnist.plots import reconstructions

        return {"reconstructions": reconstructions(images[:10], self.reconstruct(images[:10]).float())}
