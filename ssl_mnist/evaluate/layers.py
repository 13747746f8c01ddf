"""Embeddings of one set of images by every layer of an encoder, for comparing encoders with each other (`ssl_mnist.compare.cka`).

Shapes: N images, D width of a layer.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_mnist.data import Images, as_float, chunks
from ssl_mnist.encoders import Encoder

MAX_LAYERS = 8  # of a deeper encoder these many, evenly spread, the first and the last among them


@torch.no_grad()
def layer_embeddings(
    encoder: Encoder, images: Images, head: Callable[[Tensor], Tensor] | None = None, batch_size: int = 500
) -> dict[str, Tensor]:
    """`layer 1`, `layer 2`, ..., `embedding` and, where there is a head, `projection`: (N, D) float32 each, on the CPU.

    images: (N, C, H, W) uint8. A layer's feature map or tokens are averaged over positions. The encoder must be in eval mode.
    """
    assert not encoder.training
    layers = encoder.hidden_layers()
    found: dict[str, list[Tensor]] = {}
    if len(layers) > MAX_LAYERS:
        layers = [layers[i] for i in np.linspace(0, len(layers) - 1, MAX_LAYERS).round().astype(int)]

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            found.setdefault(name, []).append(_flat(output).float().cpu())

        return hook

    hooks = [layer.register_forward_hook(keep(f"layer {number}")) for number, layer in enumerate(layers, 1)]
    try:
        for batch in chunks(images, batch_size):
            embedding = encoder(as_float(batch))
            found.setdefault("embedding", []).append(embedding.float().cpu())
            if head is not None:
                found.setdefault("projection", []).append(head(embedding).float().cpu())
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


def _flat(output: Tensor) -> Tensor:
    """A map (B, D, h, w) or tokens (B, T, D), averaged over positions -> (B, D)."""
    return output.mean((2, 3)) if output.ndim == 4 else output.mean(1) if output.ndim == 3 else output


def compact(embeddings: dict[str, Tensor], images: Images) -> dict[str, np.ndarray]:
    """What representations.npz holds: each (N, D) centred, at a scale of 1, with at most N columns, as float16; and of which images.

    None of it changes a linear CKA but for float16's rounding: centring is its first step, and scale and rotation leave it as it is.
    """
    content = {"images": np.array(hashlib.sha256(_bytes(images)).hexdigest()[:16])}
    for name, values in embeddings.items():
        values = values - values.mean(0)
        if values.shape[1] > len(values):
            left, size, _ = torch.linalg.svd(values, full_matrices=False)
            values = left * size
        content[name] = (values / values.std().clamp(min=1e-12)).half().numpy()
    return content


def _bytes(images: Images) -> bytes:
    return torch.cat(list(images.split(500))).cpu().numpy().tobytes()
