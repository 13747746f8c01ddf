"""Nearest neighbours by cosine: of the points among themselves, and codes by which the page finds those of a drawing.

Shapes: N points, D width of an embedding, R width of a code.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

NUM_NEIGHBOURS = 12
CODE_WIDTH = 64


def nearest_others(embeddings: Tensor, num: int = NUM_NEIGHBOURS) -> np.ndarray:
    """(N, num) uint16 positions of the points nearest to each of (N, D), itself left out, the nearest first."""
    unit = F.normalize(embeddings.float(), dim=1)
    num = min(num, len(unit) - 1)
    found = []
    for start in range(0, len(unit), 1000):
        similarity = unit[start : start + 1000] @ unit.T
        rows = torch.arange(len(similarity), device=unit.device)
        similarity[rows, start + rows] = -2  # below every cosine
        found.append(similarity.topk(num, dim=1).indices)
    return torch.cat(found).cpu().numpy().astype("uint16")


class Codes(NamedTuple):
    """Embeddings of length 1 in the directions in which they are largest, in one byte a number: their products are almost cosines.

    An embedding e of length 1 has the code e @ directions, and its cosine with point i is about code @ (values[i] * steps).
    """

    values: np.ndarray  # (N, R) int8
    steps: np.ndarray  # (R,) float32
    directions: np.ndarray  # (D, R) float32


def codes(embeddings: Tensor, width: int = CODE_WIDTH) -> Codes:
    """Of (N, D): the `width` leading right singular vectors, each column rounded to 255 levels."""
    unit = F.normalize(embeddings.float(), dim=1)
    _, directions = torch.linalg.eigh(unit.T @ unit)  # (D, D), the smallest first
    directions = directions.flip(1)[:, :width]
    projected = unit @ directions
    steps = projected.abs().amax(0).clamp_min(1e-12) / 127
    return Codes(*((part.cpu().numpy()) for part in ((projected / steps).round().to(torch.int8), steps, directions.contiguous())))
