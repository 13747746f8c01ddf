"""Nearest neighbours by cosine: of the points among themselves, and codes by which the page finds those of a drawing.

Shapes: N points, D width of an embedding, R number of directions.
"""

import zlib
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

NUM_NEIGHBOURS = 12
MAX_DIRECTIONS = 256


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
    """Embeddings of length 1, less their mean, along their principal directions, in one byte a number.

    Of an embedding q of length 1, step * (q @ directions) @ values[:, i] is its cosine with point i, but for rounding and for what is the
    same for all points. Without the mean, which most of a cosine comes from, a byte is fine enough to tell neighbours apart.
    """

    values: np.ndarray  # (R, N) int8, a row for each direction: so they compress best
    step: float
    directions: np.ndarray  # (D, R) float32


def codes(embeddings: Tensor, max_bytes: int) -> Codes:
    """Of (N, D). One step serves all directions, so that rounding costs each the same and those of little variance take few bits. It is as
    coarse as it has to be for the values to take `max_bytes` when compressed.
    """
    unit = F.normalize(embeddings.float(), dim=1)
    centred = unit - unit.mean(0)
    _, directions = torch.linalg.eigh(centred.T @ centred)  # (D, D), the smallest first
    directions = directions.flip(1)[:, :MAX_DIRECTIONS].contiguous()
    projected = (centred @ directions).T.contiguous()  # (R, N)
    step = projected.abs().max().clamp_min(1e-12).item() / 127
    while True:
        values = (projected / step).round().to(torch.int8).cpu().numpy()
        if len(zlib.compress(values.tobytes())) <= max_bytes:
            return Codes(values, step, directions.cpu().numpy())
        step *= 1.25
