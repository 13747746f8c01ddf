"""Frozen features: what an encoder in eval mode makes of images, computed once and kept in the run's folder.

Shapes: B batch, N images, C channels, H and W image size.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.data import Images, as_float, chunks
from ssl_mnist.encoders import Encoder, max_pool
from ssl_mnist.evaluate.base import Features
from ssl_mnist.evaluate.kept import Kept, features_key


@torch.no_grad()
def extract(encoder: Encoder, images: Images, cells: set[int], tta: int = 0, batch_size: int = 1000) -> Features:
    """Features of images (N, C, H, W) uint8, in float32: `embedding`, and for each of `cells` the feature map's maxima in that many
    cells along each axis, `map_<cells>`. The encoder must be in eval mode.

    tta: test-time augmentation, in pixels: each feature is its mean over the image moved by up to that many pixels along each axis,
    (2 tta + 1)^2 images; what moves in is black.
    """
    assert not encoder.training
    parts: list[Features] = []
    for batch in chunks(images, batch_size):
        found = [_features(encoder, moved, cells) for moved in _moved(as_float(batch), tta)]
        parts.append({name: _mean([each[name] for each in found]) for name in found[0]})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _features(encoder: Encoder, images: Tensor, cells: set[int]) -> Features:
    """Of images (B, C, H, W) in [0, 1]."""
    embedding, feature_map, _ = encoder.features(images)
    found = {"embedding": embedding}
    if feature_map is not None:
        found |= {f"map_{size}": max_pool(feature_map, size, size).flatten(1) for size in sorted(cells)}
    return found


def _moved(images: Tensor, pixels: int) -> Iterator[Tensor]:
    """The images (B, C, H, W) under every shift of up to `pixels` pixels."""
    height, width = images.shape[-2:]
    padded = F.pad(images, [pixels] * 4)
    for top, left in itertools.product(range(2 * pixels + 1), repeat=2):
        yield padded[..., top : top + height, left : left + width]


def _mean(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)


class FeatureStore:
    """Features of one encoder, each split computed once.

    folder: where they are kept for later evaluations, or None. A file there, `<split>-<feature>-<hash>.pt`, belongs to one encoder, one
    data set and one way of extraction; removing it costs only the time to compute it again.
    """

    def __init__(
        self,
        encoder: Encoder,
        cells: set[int],
        tta: int,
        folder: Path | None,
        identity: str,
        head: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """identity: of the encoder's weights and of the data; head: a projector of embeddings, whose output is the feature `projection`."""
        self.head = head
        self.encoder, self.cells, self.tta = encoder.eval(), cells if encoder.has_map else set(), tta
        self.kept = Kept(folder, "features")
        self.key = features_key(identity, tta, encoder.mean.device.type)

    def __call__(self, split: str, images: Images) -> Features:
        """Features of the images (N, C, H, W) uint8 of a split: "train", "val" or "test"."""
        found = self._features(split, images)
        if self.head is not None:
            with torch.no_grad():
                found["projection"] = torch.cat([self.head(part).float() for part in found["embedding"].split(1000)])
        return found

    def _features(self, split: str, images: Images) -> Features:
        names = ["embedding", *(f"map_{size}" for size in sorted(self.cells))]
        kept = {name: self._kept(f"{split}-{name}-{self.key}", images) for name in names}
        if all(values is not None for values in kept.values()):
            return kept
        features = extract(self.encoder, images, self.cells, self.tta)
        for name, values in features.items():
            if kept[name] is None:
                self.kept.write(f"{split}-{name}-{self.key}", values.cpu())
        return features

    def _kept(self, name: str, images: Images) -> Tensor | None:
        values = self.kept.read(name, images.device)
        return values if isinstance(values, Tensor) and len(values) == len(images) else None
