"""Means, intervals and paired tests over seeds."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Estimate(NamedTuple):
    mean: float
    std: float  # sample standard deviation; nan for a single value
    half_width: float  # of the 95 % confidence interval (Student's t); nan for a single value
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    n = len(values)
    if n < 2:
        return Estimate(float(np.mean(values)), math.nan, math.nan, n)
    std = float(np.std(values, ddof=1))
    return Estimate(float(np.mean(values)), std, float(stats.t.ppf(0.975, n - 1)) * std / math.sqrt(n), n)


class Verdict(NamedTuple):
    first: str
    second: str
    score: str
    difference: Estimate  # first minus second, paired by seed
    p: float  # two-sided, exact sign-flip permutation test; nan below three seeds
    words: str


def sign_flip_p(differences: Sequence[float]) -> float:
    """Exact two-sided permutation test of paired differences (Fisher 1935): the share of all 2^n sign patterns whose mean is at
    least as far from 0. More than 14 pairs: 10,000 patterns drawn at random instead, the one seen included.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n <= 14:
        signs = np.array(list(itertools.product((1, -1), repeat=n)))
    else:
        drawn = np.random.default_rng(0).choice((1, -1), size=(10_000, n))
        signs = np.vstack([np.ones(n), drawn])
    return float((np.abs(signs @ values) >= abs(values.sum()) - 1e-12).mean())


def compare(first: str, second: str, score: str, a: dict[int, float], b: dict[int, float]) -> Verdict:
    """a, b: the score of each configuration by seed, as a fraction; only seeds that both have are compared."""
    seeds = sorted(a.keys() & b.keys())
    differences = [a[seed] - b[seed] for seed in seeds]
    if len(seeds) < 3:
        words = f"{score}: {first} and {second}: not enough seeds to tell ({len(seeds)} in common, at least 3 are needed)."
        found = estimate(differences) if differences else Estimate(math.nan, math.nan, math.nan, 0)
        return Verdict(first, second, score, found, math.nan, words)
    found, p = estimate(differences), sign_flip_p(differences)
    better, worse = (first, second) if found.mean >= 0 else (second, first)
    ahead = 100 * abs(found.mean)
    low, high = ahead - 100 * found.half_width, ahead + 100 * found.half_width
    numbers = f"by {ahead:.2f} points (95 % interval {low:.2f} to {high:.2f}; {len(seeds)} seeds, permutation p = {p:.2g}"
    if p <= 2 / 2 ** len(seeds):
        numbers += ", the least these seeds can give"
    if low > 0:
        words = f"{score}: {better} is better than {worse} {numbers})."
    else:
        words = f"{score}: {better} and {worse} cannot be told apart; {better} is ahead {numbers})."
    return Verdict(first, second, score, found, p, words)


def percent(mean: float | None, half_width: float | None) -> str:
    """A fraction and its half width as text; a dash where there is none."""
    if mean is None:
        return "-"
    return f"{100 * mean:.2f}" + ("" if half_width is None or math.isnan(half_width) else f" ± {100 * half_width:.2f}")
