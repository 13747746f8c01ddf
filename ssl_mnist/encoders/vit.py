"""Vision transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929), of torchvision's blocks."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.vision_transformer import Encoder as Transformer

from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders.base import Encoder, Features
from ssl_mnist.errors import UserError, check_width


class ViT(Encoder):
    """A pre-norm transformer over patches, with learnt position embeddings. The embedding is the class token after the last layer norm.

    The feature map is the patch tokens after the same norm, at their places in the image. Images whose size the patch does not divide are
    padded at the bottom and right with the mean.
    """

    has_map = True

    def __init__(self, patch: int | None, dim: int, depth: int, heads: int, mlp_dim: int, spec: ImageSpec) -> None:
        """patch: pixels a side; None is 4 for images up to 32 pixels, 8 up to 64, 16 above, of the larger side."""
        super().__init__(spec)
        size = max(spec.height, spec.width)
        if patch is None:
            patch = 4 if size <= 32 else 8 if size <= 64 else 16
        if not 1 <= patch <= size:
            raise UserError(f"encoder.patch must be null or in 1..{size}, the image's larger side, got {patch}")
        check_width("encoder.dim", dim)
        check_width("encoder.mlp_dim", mlp_dim)
        if not 1 <= depth <= 1000:
            raise UserError(f"encoder.depth must be in 1..1,000, got {depth}")
        if heads < 1 or dim % heads:
            raise UserError(f"encoder.heads must divide encoder.dim={dim}, got {heads}")
        self.dim = dim
        self.map_size = math.ceil(spec.height / patch), math.ceil(spec.width / patch)  # (h, w)
        height, width = self.map_size
        self.padding = (0, width * patch - spec.width, 0, height * patch - spec.height)
        self.patches = nn.Conv2d(spec.channels, dim, patch, patch)
        nn.init.trunc_normal_(self.patches.weight, std=math.sqrt(1 / (spec.channels * patch**2)))
        nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.transformer = Transformer(height * width + 1, depth, heads, dim, mlp_dim, dropout=0.0, attention_dropout=0.0)

    def hidden_layers(self) -> list[nn.Module]:
        return list(self.transformer.layers)

    def features(self, images: Tensor) -> Features:
        patches = self.patches(F.pad(self.normalise(images), self.padding))  # (B, D, h, w); 0 is the mean
        tokens = patches.flatten(2).transpose(1, 2)  # (B, T, D), T = h w
        tokens = self.transformer(torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1))
        embedding, tokens = tokens[:, 0], tokens[:, 1:]
        return Features(embedding, tokens.transpose(1, 2).unflatten(2, self.map_size), tokens)
