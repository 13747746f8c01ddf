"""Intervals and verdicts, against scipy, formulas and the rules of the protocol."""

import math

import numpy as np
import pytest
from scipy import stats

from ssl_mnist.compare import against_published, sampling_error
from ssl_mnist.compare.statistics import compare, seeds_needed, sign_flip_p
from ssl_mnist.intervals import estimate


def by_seed(values):
    return dict(enumerate(values))


def test_interval_is_students_t():
    values = [0.91, 0.93, 0.95, 0.96]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert found.mean - found.half_width == pytest.approx(low) and found.mean + found.half_width == pytest.approx(high)
    assert found.std == pytest.approx(np.std(values, ddof=1))


def test_no_interval_is_narrower_than_one_image():
    assert estimate([0.99, 0.99, 0.99], 1 / 10_000).half_width == 1e-4
    assert estimate([0.98, 0.99, 0.97], 1 / 10_000) == estimate([0.98, 0.99, 0.97])
    assert math.isnan(estimate([0.99], 1 / 10_000).half_width)


def test_sampling_error_is_the_protocols_example():
    assert sampling_error(0.995, 10_000) == pytest.approx(0.0014, abs=5e-5)
    assert sampling_error(1.0, 10_000) == pytest.approx(3e-4, abs=3e-5)  # the rule of three: nothing missed in N may still be 3 in N


def test_permutation_test_is_scipys():
    differences = [0.3, -0.1, 0.4, 0.2, 0.15, -0.02]
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue)
    assert sign_flip_p([0.1 + 0.001 * i for i in range(16)]) == pytest.approx(1 / 10_001)  # of sampled patterns, the observed included


def test_a_published_number_needs_both_errors():
    """Five seeds at 99.65 with a small spread do not beat 99.58 on 10,000 images, though their own interval leaves it out."""
    values = [0.9965, 0.9966, 0.9964, 0.9965, 0.9966]
    spread, sampling = estimate(values).half_width, sampling_error(float(np.mean(values)), 10_000)
    assert np.mean(values) - spread > 0.9958
    words = against_published(values, 10_000, 0.9958)
    assert f"99.65 ± {100 * math.hypot(spread, sampling):.2f} %" in words
    assert words.endswith("against the published 99.58 %: cannot be told apart.")
    assert against_published(values, 10_000, 0.993).endswith(": higher.")
    assert against_published(values, 10_000, 0.999).endswith(": lower.")
    assert "too few seeds to tell (2; at least 3 are needed)" in against_published(values[:2], 10_000, 0.5)


def test_six_seeds_are_needed():
    assert seeds_needed() == 6


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_too_few_seeds_are_never_better(n):
    """Whatever the differences are: also where they are all equal, so that their interval has no width."""
    found = compare("a", "b", "linear probe", by_seed([0.5] * n), by_seed([0.3] * n), 10_000)
    assert found.kind == "too few seeds" and math.isnan(found.p)
    assert found.words == f"linear probe: a and b: too few seeds to tell ({n}; at least 6 are needed)."


def test_better_is_paired_by_seed():
    """A difference that is the same at every seed is found, however much the seeds differ among themselves; whichever comes first."""
    a = {0: 0.90, 1: 0.95, 2: 0.99, 3: 0.70, 4: 0.85, 5: 0.6, 7: 0.1}
    b = {seed: value - 0.01 - 0.001 * (seed % 2) for seed, value in a.items() if seed < 7} | {8: 0.9}
    found = compare("a", "b", "s", a, b, 10_000)
    assert found.difference.n == 6 and found.p == 2 / 64
    assert "a is better than b by 1.05 points (95 % interval 0.99 to 1.11; 6 seeds, permutation p = 0.031, the smallest" in found.words
    turned = compare("b", "a", "s", b, a, 10_000)
    assert turned.words == found.words and turned.ahead == "a"
    assert compare("a", "b", "loss", a, b, None, higher=False).ahead == "b"


def test_better_needs_p_and_interval():
    """Six differences of one sign have p = 0.031; an outlier among them widens the interval over 0."""
    wide = compare("a", "b", "s", by_seed([0.9, 0.501, 0.501, 0.501, 0.501, 0.501]), by_seed([0.5] * 6), 10_000)
    assert wide.p <= 0.05 and wide.kind == "not told apart" and "a is ahead by" in wide.words
    mixed = compare("a", "b", "s", by_seed([0.6, 0.6, 0.6, 0.6, 0.6, 0.49]), by_seed([0.5] * 6), 10_000)
    assert mixed.p > 0.05 and mixed.kind == "not told apart"
    equal = compare("a", "b", "s", by_seed([0.6] * 6), by_seed([0.6] * 6), 10_000)
    assert equal.p == 1 and "their means are equal" in equal.words


def test_a_difference_below_one_image_is_none():
    """Six equal differences of less than one image, as means over draws can have, stay within the resolution."""
    found = compare("a", "b", "s", by_seed([0.90005] * 6), by_seed([0.9] * 6), 10_000)
    assert found.kind == "not told apart"
