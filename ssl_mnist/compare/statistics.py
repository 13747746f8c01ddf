"""Paired tests over seeds, and their verdicts in words, by point 9 of the protocol."""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ssl_mnist.intervals import ALPHA, Estimate, estimate, sampling_error

MAX_EXACT = 14  # seeds; beyond it sign patterns are sampled
NUM_SAMPLED = 10_000
MAX_STATISTICS = 10**8  # sign patterns times comparisons, in all; beyond it fewer patterns are sampled


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


def _patterns(n: int, num_comparisons: int) -> np.ndarray:
    """(P, n) signs: all of them, or the observed one and a sample of the others. The first row is that of the observed differences."""
    if n <= MAX_EXACT and 2**n * num_comparisons <= MAX_STATISTICS:
        return _signs(n)
    num = max(min(NUM_SAMPLED, MAX_STATISTICS // num_comparisons), 1_000)
    return np.vstack([np.ones(n, dtype=int), np.random.default_rng(0).choice((1, -1), size=(num, n))])


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided permutation test of paired differences (Fisher 1935): the share of all 2^n sign patterns whose mean is at least as
    far from 0. More than 14 pairs: of 10,000 sampled patterns and the observed one.
    """
    return float(corrected_p(np.asarray(differences, dtype=float)[None])[0])


def corrected_p(differences: np.ndarray) -> np.ndarray:
    """p of each of M comparisons made at once, from paired differences (M, n), nan where a comparison lacks a seed.

    Where there is no difference at all, the chance that any of the M values of p is at most 0.05 is at most 5 %: the step-down maxT
    procedure of Westfall and Young (1993; algorithm 4.1 in Ge, Dudoit and Speed 2003). A pattern flips the sign of a seed in all
    comparisons alike, so that what they share counts once, and n seeds can give the same smallest p whatever M is, which Bonferroni's or
    Holm's correction could not. The statistic is |sum| / sqrt(sum of squares), whose variance under the flips is 1.
    """
    values = np.nan_to_num(differences)
    norm = np.sqrt((values**2).sum(1))
    values = values / np.where(norm > 0, norm, 1.0)[:, None]
    observed = np.abs(values.sum(1))
    order = np.argsort(observed, kind="stable")  # from the smallest, so that a running maximum is that over this one and all smaller
    signs = _patterns(values.shape[1], len(values))
    exceeding = np.zeros(len(values))
    for part in np.array_split(signs, -(-signs.shape[0] * len(values) // 10**7)):
        largest = np.maximum.accumulate(np.abs(part @ values[order].T), axis=1)  # (part of P, M)
        exceeding += (largest >= observed[order] - 1e-12).sum(0)
    p = np.empty(len(values))
    p[order] = np.maximum.accumulate((exceeding / len(signs))[::-1])[::-1]  # no smaller than that of a larger statistic
    return p


class Verdict(NamedTuple):
    first: str
    second: str
    score: str  # its title and split
    difference: Estimate  # first minus second, paired by seed
    p: float  # corrected for the comparisons made with it; nan where there are too few seeds
    ahead: str | None  # the configuration with the better mean over the common seeds; None where there is none
    kind: str  # "better", "not told apart" or "too few seeds"
    words: str


def compare(
    first: str, second: str, score: str, a: Mapping[int, float], b: Mapping[int, float], num_images: int | None = None, higher: bool = True
) -> Verdict:
    """Compare two configurations paired by seed: `compare_pairs` of one pair. a, b: the score of each by seed."""
    return compare_pairs(score, {first: a, second: b}, num_images, higher)[0]


def compare_pairs(
    score: str,
    values: Mapping[str, Mapping[int, float]],
    num_images: int | None = None,
    higher: bool = True,
    only: str | None = None,
) -> list[Verdict]:
    """Compare all pairs of configurations, paired by seed; their p are corrected for their number.

    values: of each configuration, the score by seed; only seeds that both have are used. num_images: of the split, where the score is
    an accuracy, a fraction of the images, which is told in percentage points; None for any other score. higher: whether higher is
    better. only: one configuration, where its pairs alone are told, which changes no p: had it been chosen because it is best, a
    correction for these pairs alone would be too small.
    """
    names = list(values)
    seeds = sorted({seed for found in values.values() for seed in found})
    table = np.array([[values[name].get(seed, math.nan) for seed in seeds] for name in names])  # (K, n)
    first, second = np.triu_indices(len(names), 1)
    differences = table[first] - table[second]  # (M, n)
    enough = np.array([smallest_p(n) <= ALPHA for n in range(len(seeds) + 1)])[np.isfinite(differences).sum(1)]
    p = np.full(len(differences), math.nan)
    if enough.any():
        p[enough] = corrected_p(differences[enough])
    of = {(names[i], names[j]): row for row, (i, j) in enumerate(zip(first, second, strict=True))}
    pairs = list(of) if only is None else [(only, name) for name in names if name != only]
    verdicts = []
    for a, b in pairs:
        row, sign = (of[a, b], 1) if (a, b) in of else (of[b, a], -1)
        found = sign * differences[row][np.isfinite(differences[row])]
        verdicts.append(_verdict(a, b, score, found.tolist(), float(p[row]), int(enough.sum()), num_images, higher))
    return verdicts


def _verdict(
    first: str, second: str, score: str, differences: list[float], p: float, num_compared: int, num_images: int | None, higher: bool
) -> Verdict:
    n = len(differences)
    found = estimate(differences, 1 / num_images if num_images else 0.0) if n else Estimate(math.nan, math.nan, math.nan, 0)
    leads = found.mean if higher else -found.mean
    ahead = first if leads > 0 else second if leads < 0 else None
    if math.isnan(p):
        words = f"{score}: {first} and {second}: too few seeds to tell ({n}; at least {seeds_needed()} are needed)."
        return Verdict(first, second, score, found, p, ahead, "too few seeds", words)
    factor, unit = (100.0, " points") if num_images else (1.0, "")
    size, half_width = factor * abs(found.mean), factor * found.half_width
    numbers = f"95 % interval {size - half_width:.2f} to {size + half_width:.2f}; {n} seeds, permutation p = {p:.2g}"
    if p <= smallest_p(n):
        numbers += ", the smallest that these seeds can give"
    if num_compared > 1:
        numbers += f", corrected for {num_compared:,} comparisons"
    if p <= ALPHA and size - half_width > 0:
        behind = second if ahead == first else first
        words = f"{score}: {ahead} is better than {behind} by {size:.2f}{unit} ({numbers})."
        return Verdict(first, second, score, found, p, ahead, "better", words)
    by = f"{ahead} is ahead by {size:.2f}{unit}" if ahead else "their means are equal"
    words = f"{score}: {first} and {second} cannot be told apart; {by} ({numbers})."
    return Verdict(first, second, score, found, p, ahead, "not told apart", words)
