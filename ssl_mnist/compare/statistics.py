"""Means, intervals and paired tests over seeds; what they may claim is point 9 of docs/protocol.md."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05  # of significance


class Estimate(NamedTuple):
    mean: float
    std: float  # sample standard deviation; nan for a single value
    half_width: float  # of the 95 % confidence interval (Student's t); nan for a single value
    n: int


def estimate(values: Sequence[float], resolution: float = 0.0) -> Estimate:
    """resolution: of one image of the test set; no interval is narrower."""
    n = len(values)
    if n < 2:
        return Estimate(float(np.mean(values)), math.nan, math.nan, n)
    std = float(np.std(values, ddof=1))
    half_width = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * std / math.sqrt(n)
    return Estimate(float(np.mean(values)), std, max(half_width, resolution), n)


def sampling_error(accuracy: float, num_images: int) -> float:
    """Half width of the 95 % interval that a test set of so many images leaves, whatever the seeds (normal approximation)."""
    return float(stats.norm.ppf(1 - LEVEL / 2)) * math.sqrt(max(accuracy * (1 - accuracy), 0.0) / num_images)


def against_published(values: Sequence[float], num_images: int, published: float) -> str:
    """What may be said of accuracies against a number that others published: "above", "below" or "not told apart".

    The interval holds both the error over seeds and that of the test set, added in squares.
    """
    found = estimate(values, 1 / num_images)
    if math.isnan(found.half_width):
        return "not told apart"
    half_width = math.hypot(found.half_width, sampling_error(found.mean, num_images))
    if abs(found.mean - published) <= half_width:
        return "not told apart"
    return "above" if found.mean > published else "below"


class Verdict(NamedTuple):
    first: str
    second: str
    score: str
    difference: Estimate  # first minus second, paired by seed
    p: float  # two-sided, exact sign-flip permutation test; nan where the seeds are too few
    words: str

    @property
    def decided(self) -> bool:
        """Whether one is better."""
        return self.p <= LEVEL and abs(self.difference.mean) > self.difference.half_width


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


def seeds_needed() -> int:
    """The fewest seeds with which the permutation test can reach LEVEL: 6, since p is at least 2 / 2^n."""
    return next(n for n in itertools.count(1) if 2 / 2**n <= LEVEL)


def compare(names: tuple[str, str], score: str, a: Mapping[int, float], b: Mapping[int, float], num_images: int) -> Verdict:
    """Which of two configurations is better, paired by seed. score: its title with its split; a, b: accuracies by seed, as fractions.

    "Better" needs p <= 0.05 and an interval that leaves out 0; too few seeds to reach that p are called so.
    """
    first, second = names
    seeds = sorted(a.keys() & b.keys())
    differences = [a[seed] - b[seed] for seed in seeds]
    found = estimate(differences, 1 / num_images) if differences else Estimate(math.nan, math.nan, math.nan, 0)
    better, worse = (first, second) if not found.mean < 0 else (second, first)
    ahead = 100 * abs(found.mean)
    if len(seeds) < seeds_needed():
        lead = "no seed in common" if not seeds else f"{better} is ahead of {worse} by {ahead:.2f} points" if ahead else "no difference"
        words = f"{score}: {lead}; too few seeds to tell ({len(seeds)} in common, at least {seeds_needed()} are needed)."
        return Verdict(first, second, score, found, math.nan, words)
    p = sign_flip_p(differences)
    low, high = ahead - 100 * found.half_width, ahead + 100 * found.half_width
    numbers = f"by {ahead:.2f} points (95 % interval {low:.2f} to {high:.2f}; {len(seeds)} seeds, permutation p = {p:.2g})"
    verdict = Verdict(first, second, score, found, p, "")
    if verdict.decided:
        return verdict._replace(words=f"{score}: {better} is better than {worse} {numbers}.")
    return verdict._replace(words=f"{score}: {better} and {worse} cannot be told apart; {better} is ahead {numbers}.")


def percent(mean: float | None, half_width: float | None) -> str:
    """A fraction and its half width as text; a dash where there is none."""
    if mean is None or math.isnan(mean):
        return "-"
    return f"{100 * mean:.2f}" + ("" if half_width is None or math.isnan(half_width) else f" ± {100 * half_width:.2f}")
