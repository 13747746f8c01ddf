"""Accuracy by the number of labels, read from the scores of a summary: how few labels suffice."""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from scipy import stats

LEAST_POINTS = 3  # of a curve


class Point(NamedTuple):
    num: int  # of labels
    accuracy: float  # mean over draws
    half_width: float  # of its 95 % confidence interval over the draws (Student's t); nan for a single draw


def label_curves(summary: Mapping[str, Any], split: str) -> dict[str, list[Point]]:
    """By way of using labels, such as "linear probe", its points in the order of their numbers; ways with fewer than three are left out.

    Read from scores named `<split>/<way>_<n>_labels_accuracy`. Where there is one of all of train's labels, it is the last point.
    """
    found: dict[str, list[Point]] = {}
    for key, about in summary["scores"].items():
        named = re.fullmatch(rf"{split}/(.+)_(\d+|all)_labels(?:_tta\d+)?_accuracy", key)
        if not named or key not in summary:
            continue
        num = summary.get("data/train_size") if named[2] == "all" else int(named[2])
        if num is None:
            continue
        found.setdefault(about["title"].rpartition(", ")[0], []).append(
            Point(num, summary[key], _half_width(summary, key, about.get("draws", 1)))
        )
    return {way: sorted(points) for way, points in found.items() if len(points) >= LEAST_POINTS}


def _half_width(summary: Mapping[str, Any], key: str, num_draws: int) -> float:
    std = summary.get(f"{key.removesuffix('_accuracy')}_std")
    return math.nan if std is None or num_draws < 2 else float(stats.t.ppf(0.975, num_draws - 1)) * std / math.sqrt(num_draws)
