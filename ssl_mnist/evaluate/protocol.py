"""The protocol: fit every probe, make every choice on val, then read test, once.

Scores are fractions, named by their split and by what was probed: `test/linear_accuracy`.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_mnist.data import Dataset, Split
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Labelled, Probe
from ssl_mnist.evaluate.features import FeatureStore


@dataclass(frozen=True)
class Evaluation:
    scores: dict[str, Any]  # flat, ready for summary.json
    warnings: list[str]
    split: str  # that the figures show: "test", or "val" where test was not read
    shown: Split  # its images and labels
    embeddings: Tensor  # (N, D) of these images
    bank: Tensor  # (M, D) embeddings of train
    confusion: Tensor | None  # (num_classes, num_classes) counts of the first probe on this split: row true, column predicted


def suffix(tta: int) -> str:
    """What the name of every score ends in, so that scores with test-time augmentation are never taken for those without."""
    return f"_tta{tta}" if tta else ""


def score_titles(probes: Mapping[str, Probe], tta: int) -> dict[str, str]:
    """name -> title of the scores that these probes give, without the split."""
    extra = f", averaged over shifts of {tta} pixel{'s' * (tta > 1)}" if tta else ""
    return {f"{name}{suffix(tta)}": f"{title}{extra}" for probe in probes.values() for name, title in probe.titles().items()}


def applicable(probes: Mapping[str, Probe], encoder: Encoder) -> dict[str, Probe]:
    """Those that the encoder has the features for, fitted to the size of its feature map. Raises UserError where there is none."""
    found = {name: probe for name, probe in probes.items() if encoder.has_map or not probe.feature.startswith("map")}
    if not found:
        raise UserError("evaluation: no probe fits this encoder, which has no feature map; evaluation=standard has others")
    shape = encoder.map_shape() if any(probe.feature.startswith("map") for probe in found.values()) else None
    for probe in found.values():
        probe.adapt(shape)
    return found


def cells_of(probes: Mapping[str, Probe]) -> set[int]:
    """The sizes to which their feature maps are pooled."""
    return {int(probe.feature.removeprefix("map_")) for probe in probes.values() if probe.feature.startswith("map_")}


def evaluate(probes: Mapping[str, Probe], dataset: Dataset, features: FeatureStore, read_test: bool) -> Evaluation:
    """Fit all probes to frozen features and score them on val and, if `read_test`, on test.

    Probes that a refit concludes have seen train and val when they predict test. The score of a probe with several draws is their mean,
    with the sample standard deviation beside it in `_std`.
    """
    if dataset.spec.classes is None:
        return _without_labels(dataset, features, read_test)
    classes = dataset.spec.classes
    train, val = (Labelled(features(name, split.images), _labels(split), len(classes)) for name, split in _labelled_splits(dataset))
    fitted = {name: probe.fit(train, val) for name, probe in probes.items()}
    titles, end = score_titles(probes, features.tta), suffix(features.tta)
    scores: dict[str, Any] = {}
    for each in fitted.values():
        scores |= _accuracies("val", each.val, val.labels, end)
    for name, each in fitted.items():
        scores |= {f"probe/{name}{end}_{fact}": value for fact, value in each.facts.items()}
    warnings = [warning for each in fitted.values() for warning in each.warnings]
    first = next(iter(probes))
    primary = next(iter(probes[first].titles()))

    if read_test:  # Every choice is made: test is read here and nowhere else.
        split, shown = "test", dataset.read_test()
        shown_features = features("test", shown.images)
        predicted = {name: each.predict(shown_features) for name, each in fitted.items()}
        for found in predicted.values():
            scores |= _accuracies("test", found, _labels(shown), end)
        classes_of_first = predicted[first][primary]
    else:
        split, shown, shown_features = "val", dataset.val, val.features
        classes_of_first = fitted[first].val[primary]

    confusion = confusion_matrix(_labels(shown), classes_of_first.view(-1, len(shown))[0], len(classes))
    true, mistaken, count = most_confused(confusion)
    scores |= {
        "primary": f"{primary}{end}",
        f"{split}/per_class_accuracy": (confusion.diagonal() / confusion.sum(1)).tolist(),
        f"{split}/most_confused": f"{classes[true]} taken for {classes[mistaken]}, {count} times" if count else "none",
        "scores": {
            f"{part}/{name}_accuracy": {"title": title, "higher_is_better": True}
            for part in (["test"] if read_test else []) + ["val"]
            for name, title in titles.items()
        },
        "warnings": warnings,
    }
    return Evaluation(scores, warnings, split, shown, shown_features["embedding"], train.features["embedding"], confusion)


def _without_labels(dataset: Dataset, features: FeatureStore, read_test: bool) -> Evaluation:
    """No score; embeddings to look at."""
    split, shown = ("test", dataset.read_test()) if read_test else ("val", dataset.val)
    bank = features("train", dataset.train.images)["embedding"]
    return Evaluation({"scores": {}, "warnings": []}, [], split, shown, features(split, shown.images)["embedding"], bank, None)


def _labels(split: Split) -> Tensor:
    assert split.labels is not None
    return split.labels


def _labelled_splits(dataset: Dataset) -> list[tuple[str, Split]]:
    return [("train", dataset.train), ("val", dataset.val)]


def _accuracies(split: str, predicted: Mapping[str, Tensor], labels: Tensor, end: str) -> dict[str, float]:
    """By score, the accuracy on a split, or the mean and standard deviation over draws."""
    scores = {}
    for name, classes in predicted.items():
        each = [(draw == labels).sum().item() / len(labels) for draw in classes.view(-1, len(labels))]
        scores[f"{split}/{name}{end}_accuracy"] = statistics.mean(each)
        if len(each) > 1:
            scores[f"{split}/{name}{end}_std"] = statistics.stdev(each)
    return scores


def confusion_matrix(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """(num_classes, num_classes) counts; row: true class, column: predicted class."""
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def most_confused(confusion: Tensor) -> tuple[int, int, int]:
    """True class, predicted class and count of the most frequent error."""
    errors = confusion.clone().fill_diagonal_(0)
    true, predicted = divmod(int(errors.argmax()), len(errors))
    return true, predicted, int(errors[true, predicted])
