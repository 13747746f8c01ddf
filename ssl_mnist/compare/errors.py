"""Where configurations fail differently: how often each takes one class for another, by the predictions that their runs have kept."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.predictions import Predictions
from ssl_mnist.compare.runs import Run
from ssl_mnist.errors import UserError
from ssl_mnist.intervals import estimate

MAX_CONFIGURATIONS, MAX_PAIRS = 15, 15


@dataclass(frozen=True)
class Errors:
    """Predictions of the same images by the same probe."""

    predictions: dict[str, list[Predictions]]  # of each configuration, by seed
    classes: list[str]
    missing: str  # which runs are left out and why; empty where none is

    @property
    def of(self) -> Predictions:
        """Any of them: split, score and number of images are those of all."""
        return next(iter(self.predictions.values()))[0]

    def counts(self, name: str, true: int, predicted: int) -> list[int]:
        """Of a configuration's images of one class, how many each seed takes for the other."""
        return [each.errors[true, predicted] for each in self.predictions[name]]

    def between(self, name: str, first: int, second: int) -> list[int]:
        """Of a configuration's images of either class, how many each seed takes for the other."""
        return [each.between(first, second) for each in self.predictions[name]]

    def totals(self, name: str) -> list[int]:
        return [each.errors.total() for each in self.predictions[name]]

    def differing(self, num: int = MAX_PAIRS) -> list[tuple[int, int]]:
        """Pairs (true, predicted) by the difference between the highest and the lowest mean of a configuration, the largest first."""
        means: dict[tuple[int, int], dict[str, float]] = {}
        for name, seeds in self.predictions.items():
            for pair, count in sum((each.errors for each in seeds), Counter()).items():
                means.setdefault(pair, {})[name] = count / len(seeds)

        def spread(pair: tuple[int, int]) -> float:
            values = [means[pair].get(name, 0.0) for name in self.predictions]
            return max(values) - min(values)

        return sorted(means, key=lambda pair: (-spread(pair), -sum(means[pair].values()), pair))[:num]

    def rank(self, name: str, first: int, second: int) -> tuple[int, int]:
        """The place of two classes among all pairs of classes by how often they are confused, 1 the most often; and the number of pairs."""
        sums: Counter[tuple[int, int]] = Counter()
        for each in self.predictions[name]:
            for (a, b), count in each.errors.items():
                sums[min(a, b), max(a, b)] += count
        pairs = list(combinations(range(len(self.classes)), 2))
        mine = sums[min(first, second), max(first, second)]
        return 1 + sum(sums[pair] > mine for pair in pairs), len(pairs)


def errors_of(comparison: Comparison) -> Errors | str:
    """The errors of all configurations that can be compared with the best one's; why there are none, where there are none."""
    ranking = comparison.ranking or list(comparison.groups)
    having = [(name, run, run.predictions) for name in ranking for run in comparison.groups[name] if run.predictions]
    if not having:
        return "no run holds predictions.json, of which the errors of each class are counted"
    _, run, first = having[0]
    predictions: dict[str, list[Predictions]] = {}
    for name, other, found in having:
        if _kind(other, found) == _kind(run, first) and (name in predictions or len(predictions) < MAX_CONFIGURATIONS):
            predictions.setdefault(name, []).append(found)
    ordered = {name: predictions[name] for name in comparison.groups if name in predictions}
    total, used = len(comparison.sweep.runs), sum(map(len, predictions.values()))
    missing = f"{used} of {total} runs: the others have no predictions of the same images by the same probe" if used < total else ""
    if len(predictions) == MAX_CONFIGURATIONS < len(comparison.groups):
        missing = f"The {MAX_CONFIGURATIONS} best of {len(comparison.groups)} configurations"
    return Errors(ordered, run.summary["data/classes"], missing)


def _kind(run: Run, predictions: Predictions) -> tuple[object, ...]:
    return run.data, predictions.split, predictions.score, predictions.num, tuple(run.summary["data/classes"])


def mean(counts: Sequence[int]) -> str:
    """Mean ± half width of the 95 % interval over at least 3 seeds; of two seeds both counts."""
    if len(counts) < 3:
        return " and ".join(f"{count:,}" for count in counts)
    found = estimate(counts, 1.0)
    return f"{found.mean:,.1f} ± {found.half_width:,.1f}"


def pairs_table(found: Errors, pairs: Iterable[str]) -> list[list[str]]:
    """Of pairs of class names "a,b": how often either is taken for the other, its share of all errors, and its place among all pairs.

    A row a pair and a configuration, the head first. Raises UserError for what is no pair of classes.
    """
    rows = [["classes", "configuration", "seeds", "a for b", "b for a", "both", "of all errors", "place among pairs"]]
    for text in pairs:
        names = text.split(",")
        if len(names) != 2 or not set(names) <= set(found.classes) or names[0] == names[1]:
            raise UserError(f"{text} is not two classes with a comma between them; the classes are {_some(found.classes)}")
        a, b = (found.classes.index(name) for name in names)
        for name in found.predictions:
            both, totals, (place, num) = found.between(name, a, b), found.totals(name), found.rank(name, a, b)
            share = f"{100 * sum(both) / max(sum(totals), 1):.1f} % of {mean(totals)}"
            there, back = found.counts(name, a, b), found.counts(name, b, a)
            rows.append([text, name, str(len(both)), mean(there), mean(back), mean(both), share, f"{place} of {num}"])
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table as text, its first two columns to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _some(classes: list[str]) -> str:
    return ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
