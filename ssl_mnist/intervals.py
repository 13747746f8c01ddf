"""95 % intervals: of a mean (Student's t), and of an accuracy on some images (Agresti and Coull's, Wilson's)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ALPHA = 0.05


class Estimate(NamedTuple):
    mean: float
    std: float  # sample standard deviation (ddof = 1); nan for a single value
    half_width: float  # of the 95 % confidence interval (Student's t); nan for a single value
    n: int


def estimate(values: Sequence[float], resolution: float = 0.0) -> Estimate:
    """Mean, standard deviation and interval of at least one value.

    resolution: the smallest step between two values, 1 / N for an accuracy on N images; no interval is narrower than ± that.
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(mean, math.nan, math.nan, n)
    std = float(np.std(values, ddof=1))
    return Estimate(mean, std, max(half_width(std, n), resolution), n)


def half_width(std: float, n: int) -> float:
    """Of the interval of a mean, from the sample standard deviation of its n values; nan for a single value."""
    from scipy import stats

    return float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * std / math.sqrt(n) if n > 1 else math.nan


def sampling_error(accuracy: float, num_images: int) -> float:
    """Half width of the 95 % interval that a set of N images leaves around an accuracy (Agresti and Coull 1998).

    1.96 sqrt(p (1 - p) / (N + 4)), p being the accuracy after two more hits and two more misses. Without these, near 100 % and on few
    images, the interval would be too narrow: of 500 images at 99 % it would hold the truth 87 times in 100.
    """
    p = (accuracy * num_images + 2) / (num_images + 4)
    return 1.96 * math.sqrt(p * (1 - p) / (num_images + 4))


def wilson(accuracy: float, count: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy measured on `count` images (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(accuracy * count), count).proportion_ci(1 - ALPHA, method="wilson")
    return float(interval.low), float(interval.high)


def percent(mean: float | None, half_width: float | None = None) -> str:
    """A fraction and its half width in percent; a dash where there is none."""
    if mean is None:
        return "-"
    return f"{100 * mean:.2f}" + ("" if half_width is None or math.isnan(half_width) else f" ± {100 * half_width:.2f}")
