"""Means, confidence intervals and paired tests over seeds, by point 9 of the protocol."""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

ALPHA = 0.05
MAX_EXACT = 14  # pairs; beyond it sign patterns are sampled
NUM_SAMPLED = 10_000


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
    return Estimate(mean, std, max(float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * std / math.sqrt(n), resolution), n)


def sampling_error(accuracy: float, num_images: int) -> float:
    """Half width of the 95 % interval that a set of N images leaves around an accuracy: 1.96 sqrt(p (1 - p) / N), at least 1 / N."""
    return max(1.96 * math.sqrt(accuracy * (1 - accuracy) / num_images), 1 / num_images)


def against_published(values: Sequence[float], num_images: int, published: float) -> str:
    """What accuracies of several seeds, on N images, say about a published accuracy: all are fractions.

    The interval holds both the spread over seeds and the test set's sampling error, which are independent: their squares add up.
    """
    found, sampling = estimate(values, 1 / num_images), sampling_error(float(np.mean(values)), num_images)
    if found.n < 3:
        few = f"too few seeds to tell ({found.n}; at least 3 are needed)"
        return f"{100 * found.mean:.2f} % against the published {100 * published:.2f} %: {few}."
    half_width = math.hypot(found.half_width, sampling)
    numbers = (
        f"{100 * found.mean:.2f} ± {100 * half_width:.2f} % ({found.n} seeds: ± {100 * found.half_width:.2f}; "
        f"{num_images:,} images: ± {100 * sampling:.2f}) against the published {100 * published:.2f} %"
    )
    if abs(found.mean - published) <= half_width:
        return f"{numbers}: cannot be told apart."
    return f"{numbers}: {'higher' if found.mean > published else 'lower'}."


def smallest_p(n: int) -> float:
    """The smallest p that the sign-flip test of n pairs can give: all differences have one sign, 2 of 2^n patterns."""
    return 2 / 2**n if n else 1.0


def seeds_needed() -> int:
    """The fewest pairs whose smallest p is at most ALPHA."""
    return next(n for n in itertools.count(1) if smallest_p(n) <= ALPHA)


@lru_cache(maxsize=MAX_EXACT)
def _signs(n: int) -> np.ndarray:
    return np.array(list(itertools.product((1, -1), repeat=n)))  # (2^n, n)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided permutation test of paired differences (Fisher 1935): the share of all 2^n sign patterns whose mean is at least as
    far from 0. More than 14 pairs: of 10,000 sampled patterns and the observed one.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n <= MAX_EXACT:
        signs = _signs(n)
    else:
        sampled = np.random.default_rng(0).choice((1, -1), size=(NUM_SAMPLED, n))
        signs = np.vstack([np.ones(n), sampled])
    return float((np.abs(signs @ values) >= abs(values.sum()) - 1e-12).mean())


class Verdict(NamedTuple):
    first: str
    second: str
    score: str  # its title and split
    difference: Estimate  # first minus second, paired by seed
    p: float  # nan where there are too few seeds
    ahead: str | None  # the configuration with the better mean over the common seeds; None where there is none
    kind: str  # "better", "not told apart" or "too few seeds"
    words: str


def compare(
    first: str, second: str, score: str, a: Mapping[int, float], b: Mapping[int, float], num_images: int | None = None, higher: bool = True
) -> Verdict:
    """Compare two configurations paired by seed.

    a, b: the score of each by seed; only seeds that both have are used. num_images: of the split, where the score is an accuracy, a
    fraction of the images, which is told in percentage points; None for any other score. higher: whether higher is better.
    """
    seeds = sorted(a.keys() & b.keys())
    n, differences = len(seeds), [a[seed] - b[seed] for seed in seeds]
    found = estimate(differences, 1 / num_images if num_images else 0.0) if seeds else Estimate(math.nan, math.nan, math.nan, 0)
    leads = found.mean if higher else -found.mean
    ahead = first if leads > 0 else second if leads < 0 else None
    if smallest_p(n) > ALPHA:
        words = f"{score}: {first} and {second}: too few seeds to tell ({n}; at least {seeds_needed()} are needed)."
        return Verdict(first, second, score, found, math.nan, ahead, "too few seeds", words)
    p = sign_flip_p(differences)
    factor, unit = (100.0, " points") if num_images else (1.0, "")
    size, half_width = factor * abs(found.mean), factor * found.half_width
    numbers = f"95 % interval {size - half_width:.2f} to {size + half_width:.2f}; {n} seeds, permutation p = {p:.2g}"
    if p <= smallest_p(n):
        numbers += ", the smallest that these seeds can give"
    if p <= ALPHA and size - half_width > 0:
        behind = second if ahead == first else first
        words = f"{score}: {ahead} is better than {behind} by {size:.2f}{unit} ({numbers})."
        return Verdict(first, second, score, found, p, ahead, "better", words)
    by = f"{ahead} is ahead by {size:.2f}{unit}" if ahead else "their means are equal"
    words = f"{score}: {first} and {second} cannot be told apart; {by} ({numbers})."
    return Verdict(first, second, score, found, p, ahead, "not told apart", words)


def percent(mean: float | None, half_width: float | None = None) -> str:
    """A fraction and its half width in percent; a dash where there is none."""
    if mean is None:
        return "-"
    return f"{100 * mean:.2f}" + ("" if half_width is None or math.isnan(half_width) else f" ± {100 * half_width:.2f}")
