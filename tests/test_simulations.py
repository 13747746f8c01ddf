"""What the intervals and tests promise, tried on made-up runs whose truth is known: intervals cover 95 %, no difference is rarely "better".

Each count of simulations is compared with its binomial distribution; a limit is one that a right procedure fails once in 1,000 seeds.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from ssl_mnist.compare.statistics import against_published, compare_pairs, corrected_p, sign_flip_p
from ssl_mnist.intervals import estimate, sampling_error, wilson

NUM = 2_000  # simulations
LOW, HIGH = stats.binom.interval(0.998, NUM, 0.95)
MOST_FALSE = stats.binom.ppf(0.999, NUM, 0.05)


def covered(draw, n, truth, resolution=0.0):
    """How often the interval of n values that `draw` draws holds the truth."""
    intervals = (estimate(draw(n), resolution) for _ in range(NUM))
    return sum(abs(found.mean - truth) <= found.half_width for found in intervals)


@pytest.mark.parametrize("n", [3, 5])
def test_intervals_over_seeds_cover_95_percent(n):
    draw = np.random.default_rng(n)
    assert LOW <= covered(lambda n: draw.normal(0.99, 0.002, n), n, 0.99) <= HIGH


@pytest.mark.parametrize("n", [3, 5])
def test_intervals_never_narrower_than_one_image_cover_at_least_95_percent(n):
    """Accuracies on 500 images are multiples of 1 / 500. Where seeds differ by less than that, they are often all equal."""
    for spread in (0.0002, 0.001, 0.01):
        draw = np.random.default_rng(n)
        rounded = covered(lambda n, draw=draw, spread=spread: np.round(draw.normal(0.981, spread, n) * 500) / 500, n, 0.981, 1 / 500)
        assert rounded >= LOW, spread
        if spread < 0.001:
            assert rounded == NUM  # the truth lies within one image of its rounding


def test_skewed_scores_are_covered_less_often():
    """Student's t holds for scores that scatter evenly. Where a few seeds fail by much, five seeds cover 88 instead of 95 in 100."""
    draw = np.random.default_rng(0)
    share = covered(lambda n: -draw.exponential(size=n), 5, -1.0) / NUM
    assert 0.85 < share < 0.91


@pytest.mark.parametrize("num_images", [500, 5_000, 10_000])
def test_sampling_error_covers_the_binomial(num_images):
    """By summation over all numbers of hits, no simulation. Hits are whole numbers, so no interval covers exactly 95 %.

    The normal approximation 1.96 sqrt(p (1 - p) / N) covers 83 % of 500 images at 99.4 %, and 86 % of 10,000 at 99.98 %.
    """
    hits = np.arange(num_images + 1)
    half_widths = np.array([sampling_error(k / num_images, num_images) for k in hits])
    shares = []
    for accuracy in np.linspace(0.5, 1 - 2 / num_images, 200):
        held = np.abs(hits / num_images - accuracy) <= half_widths
        shares.append(stats.binom.pmf(hits, num_images, accuracy)[held].sum())
    assert min(shares) > 0.93 and 0.945 < np.mean(shares) < 0.955


def test_wilson_intervals_of_a_class_cover_the_binomial():
    """95 % on average over accuracies, and no less than 83 % anywhere; the normal approximation covers 39 % of 50 images at 99 %."""
    for num_images in (50, 1_000):
        hits = range(num_images + 1)
        low, high = np.array([wilson(k / num_images, num_images) for k in hits]).T
        shares = []
        for accuracy in np.linspace(0.5, 0.999, 200):
            held = (low <= accuracy) & (accuracy <= high)
            shares.append(stats.binom.pmf(hits, num_images, accuracy)[held].sum())
        assert min(shares) > 0.83 and 0.947 < np.mean(shares) < 0.955


@pytest.mark.parametrize("n", [3, 5])
def test_a_published_number_that_is_the_truth_is_rarely_called_another(n):
    """Seeds differ, and all of them share the test images, whose sampling error no number of seeds makes smaller."""
    draw = np.random.default_rng(n)
    truth, num_images = 0.995, 10_000
    for spread in (0.0003, 0.001):
        false = 0
        for _ in range(NUM):
            difficulty = np.sort(draw.random(num_images))  # of the images: those below a seed's accuracy are its hits
            hits = np.searchsorted(difficulty, truth + spread * draw.standard_normal(n))
            false += not against_published(hits / num_images, num_images, truth).endswith("cannot be told apart.")
        assert false <= MOST_FALSE, spread


def seeds_of(draw, num, n, ahead=0.0, noise=np.random.Generator.standard_normal):
    """Scores of `num` configurations at n seeds: what the seeds share, the configurations' own noise, and the first one ahead."""
    scores = 0.9 + 0.01 * draw.standard_normal(n) + 0.003 * noise(draw, (num, n))
    scores[0] += ahead
    return {f"c{i}": dict(enumerate(row.tolist())) for i, row in enumerate(scores)}


@pytest.mark.parametrize("n,noise", [(6, "standard_normal"), (8, "standard_normal"), (8, "standard_exponential")])
def test_two_equal_configurations_are_rarely_better(n, noise):
    """Whatever the distribution: of two configurations that differ in nothing, the difference is as likely as its negative."""
    draw = np.random.default_rng(n)
    kinds = [compare_pairs("s", seeds_of(draw, 2, n, noise=getattr(np.random.Generator, noise)))[0].kind for _ in range(NUM)]
    assert 0 < kinds.count("better") <= MOST_FALSE


@pytest.mark.parametrize("num,n,alone", [(3, 6, 0.08), (4, 8, 0.21), (10, 6, 0.63)])
def test_no_difference_among_several_is_rarely_better_anywhere(num, n, alone):
    """alone: the share of such sweeps in which tests without a correction would call one better."""
    draw, times = np.random.default_rng(num), 250
    false = uncorrected = 0
    for _ in range(times):
        values = seeds_of(draw, num, n)
        false += any(verdict.kind == "better" for verdict in compare_pairs("s", values))
        pairs = itertools.combinations(values.values(), 2)
        uncorrected += any(sign_flip_p([a[seed] - b[seed] for seed in a]) <= 0.05 for a, b in pairs)
    assert false <= stats.binom.ppf(0.999, times, 0.05)
    low, high = stats.binom.interval(0.998, times, alone)
    assert low <= uncorrected <= high


def test_the_best_of_many_is_not_better_because_it_is_the_best():
    """Of 20 equal configurations the one that came out best is compared with the others."""
    draw = np.random.default_rng(20)
    false = 0
    for _ in range(NUM // 10):
        values = seeds_of(draw, 20, 7)
        best = max(values, key=lambda name: sum(values[name].values()))
        false += any(verdict.kind == "better" for verdict in compare_pairs("s", values, only=best))
    assert false <= stats.binom.ppf(0.999, NUM // 10, 0.05)


def test_one_that_is_better_is_found_and_the_others_stay_equal():
    draw = np.random.default_rng(3)
    found = [compare_pairs("s", seeds_of(draw, 3, 6, ahead=0.03)) for _ in range(NUM // 4)]
    assert sum(all(verdict.kind == "better" for verdict in verdicts[:2]) for verdicts in found) > 0.95 * len(found)
    assert sum(verdicts[2].kind == "better" for verdicts in found) <= stats.binom.ppf(0.999, len(found), 0.05)


def test_three_seeds_are_too_few_whatever_the_difference():
    draw = np.random.default_rng(0)
    for _ in range(50):
        assert {verdict.kind for verdict in compare_pairs("s", seeds_of(draw, 3, 3, ahead=draw.normal()))} == {"too few seeds"}


# the correction


def test_correction_is_the_step_down_procedure_spelled_out():
    """Against the definition: at step i the largest statistic among those not yet passed, over all sign patterns, is what counts."""
    differences = np.random.default_rng(1).normal([[0.3], [1.0], [0.0], [2.0]], 1.0, (4, 6))
    statistic = np.abs(differences.sum(1)) / np.sqrt((differences**2).sum(1))
    expected, largest, left = {}, 0.0, list(np.argsort(-statistic))
    while left:
        exceeding = 0
        for signs in itertools.product((1, -1), repeat=6):
            flipped = np.abs((differences[left] * signs).sum(1)) / np.sqrt((differences[left] ** 2).sum(1))
            exceeding += flipped.max() >= statistic[left[0]] - 1e-12
        largest = max(largest, exceeding / 64)
        expected[left.pop(0)] = largest
    assert corrected_p(differences).tolist() == pytest.approx([expected[i] for i in range(4)])
    assert corrected_p(differences[:1])[0] == sign_flip_p(differences[0])


def test_a_comparison_made_twice_costs_nothing():
    """Nor does a unit: a score in percent, or a seed that a comparison lacks."""
    values = np.array([0.3, 0.1, 0.4, 0.2, 0.15, 0.02])
    assert corrected_p(np.stack([values, 100 * values])) == pytest.approx([sign_flip_p(values)] * 2)
    alone, lacking = corrected_p(np.array([[*values, math.nan], [*-values, math.nan]]))
    assert alone == lacking == sign_flip_p(values)


def test_only_one_configurations_pairs_keep_their_p():
    values = seeds_of(np.random.default_rng(5), 5, 7, ahead=0.006)
    every = {frozenset((v.first, v.second)): v.p for v in compare_pairs("s", values)}
    told = compare_pairs("s", values, only="c2")
    assert len(told) == 4 and all(verdict.first == "c2" and every[frozenset(("c2", verdict.second))] == verdict.p for verdict in told)
    assert told[0].difference.mean == pytest.approx(-compare_pairs("s", values)[1].difference.mean)  # c2 - c0
    assert "corrected for 10 comparisons" in told[0].words
