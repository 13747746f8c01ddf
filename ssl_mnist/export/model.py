"""What is exported: an encoder with its normalisation and, where it has one, its linear probe, as one module.

Shapes: B batch, C channels, H and W image size, D = dim, K classes.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_mnist.data import ImageSpec
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError

TOLERANCE = 1e-4  # of an exported model's outputs, of their largest value where that is above 1


class Exported(nn.Module):
    """Images (B, C, H, W) float32 in [0, 1] -> (embedding (B, D),), with a probe (embedding (B, D), probabilities (B, K)).

    A copy on the CPU, frozen and in eval mode. probe: the tensors of a fitted linear probe, as `kept_probe` returns them.
    """

    mean: Tensor  # (D,) of the embeddings that the probe was fitted to
    std: Tensor  # (D,)
    weight: Tensor  # (K, D)
    bias: Tensor  # (K,)

    def __init__(self, encoder: Encoder, probe: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        assert probe is None or probe.keys() == {"mean", "std", "weight", "bias"}
        self.encoder = copy.deepcopy(encoder).cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.has_probe = probe is not None
        for name, tensor in (probe or {}).items():
            self.register_buffer(name, tensor.detach().cpu().float().clone())
        self.requires_grad_(False).eval()

    @property
    def spec(self) -> ImageSpec:
        return self.encoder.spec

    @property
    def outputs(self) -> list[str]:
        return ["embedding", "probabilities"] if self.has_probe else ["embedding"]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        embedding = self.encoder(images)
        if not self.has_probe:
            return (embedding,)
        return embedding, F.linear((embedding - self.mean) / self.std, self.weight, self.bias).softmax(1)

    def examples(self, num: int) -> Tensor:
        """Images (num, C, H, W) of noise, the same ones each time."""
        size = num, self.spec.channels, self.spec.height, self.spec.width
        return torch.rand(size, generator=torch.Generator().manual_seed(num))

    def verify(self, run: Callable[[Tensor], Sequence[Any]]) -> None:
        """Raises UserError unless `run`, images -> outputs as arrays, computes the same. It is tried on batches of 1 and 5 images."""
        for num in (1, 5):
            images = self.examples(num)
            for name, expected, found in zip(self.outputs, self(images), run(images), strict=True):
                error = (torch.as_tensor(found) - expected).abs().max().item()
                if not error <= TOLERANCE * max(1.0, expected.abs().max().item()):  # nan is an error too
                    kind = type(self.encoder).__name__
                    raise UserError(f"{kind} cannot be exported: the exported model's {name} differs by {error:.2g} from PyTorch's")
