"""Accuracies on corrupted images of a sweep's runs, side by side: what the runs' summaries hold, checked and averaged over seeds."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssl_mnist.compare.runs import Run, is_finite

Accuracies = dict[str, list[float]]  # by corruption: on the images as they are, then at each strength


@dataclass(frozen=True)
class Panel:
    """One corruption."""

    strength: str  # what a strength is, with its unit
    ticks: list[str]
    lines: dict[str, list[float]]  # by configuration, in percent
    untrained: list[float]


@dataclass(frozen=True)
class Corrupted:
    split: str
    title: str  # of the probe
    panels: dict[str, Panel]  # by corruption
    left_out: list[str]  # configurations without a line


@dataclass(frozen=True)
class _Of:
    """What one run found."""

    key: tuple[Any, ...]  # runs of one key can be drawn side by side
    split: str
    title: str
    corruptions: dict[str, tuple[str, list[str]]]
    accuracies: Accuracies
    untrained: Accuracies


def corrupted(groups: Mapping[str, list[Run]]) -> Corrupted | None:
    """By the first probe of most runs; None where no run was evaluated on corrupted images."""
    found = {name: [each for run in runs if (each := _of(run)) is not None] for name, runs in groups.items()}
    keys = Counter(each.key for several in found.values() for each in several)
    if not keys:
        return None
    key = keys.most_common(1)[0][0]
    same = {name: [each for each in several if each.key == key] for name, several in found.items()}
    same = {name: several for name, several in same.items() if several}
    everyone = [each for several in same.values() for each in several]
    panels = {
        name: Panel(
            strength,
            ticks,
            {group: _mean([each.accuracies[name] for each in several]) for group, several in same.items()},
            _mean([each.untrained[name] for each in everyone]),
        )
        for name, (strength, ticks) in everyone[0].corruptions.items()
    }
    return Corrupted(everyone[0].split, everyone[0].title, panels, [name for name in groups if name not in same])


def _mean(rows: list[list[float]]) -> list[float]:
    """In percent."""
    return [100 * sum(column) / len(column) for column in zip(*rows, strict=True)]


def _of(run: Run) -> _Of | None:
    """None where the run was not evaluated so, or where its summary holds it in another form."""
    for split in ("test", "val"):
        try:
            content = run.summary[f"{split}/robustness"]
            corruptions = {
                str(name): (str(about["strength"]), [f"{value:g}" for value in (about["none"], *about["strengths"])])
                for name, about in content["corruptions"].items()
            }
            score, probe = next(iter(content["probes"].items()))
            accuracies, untrained = (
                {name: _numbers([probe[clean], *probe[kind][name]], len(ticks)) for name, (_, ticks) in corruptions.items()}
                for clean, kind in (("clean", "accuracy"), ("untrained_clean", "untrained"))
            )
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
            continue
        key = (split, str(score), run.data, str(content.get("num_images")), *((name, *ticks) for name, (_, ticks) in corruptions.items()))
        if corruptions:
            return _Of(key, split, str(probe.get("title", score)), corruptions, accuracies, untrained)
    return None


def _numbers(values: list[Any], num: int) -> list[float]:
    """Raises ValueError unless these are so many fractions."""
    if len(values) != num or not all(is_finite(value) and 0 <= value <= 1 for value in values):
        raise ValueError
    return values
