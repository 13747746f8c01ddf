"""The protocol: fit every probe, make every choice on val, then read test, once.

Scores are fractions, named by their split and by what was probed: `test/linear_accuracy`.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssl_mnist.data import Dataset, Split
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Features, Fitted, Labelled, Probe
from ssl_mnist.evaluate.features import FeatureStore
from ssl_mnist.evaluate.kept import Kept
from ssl_mnist.training.device import Device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIT = ("tensors", "val", "facts", "warnings")  # what is kept of a fitted probe


@dataclass(frozen=True)
class Evaluation:
    scores: dict[str, Any]  # flat, ready for summary.json
    warnings: list[str]
    split: str  # that the figures show: "test", or "val" where test was not read
    shown: Split  # its images and labels
    embeddings: Tensor  # (N, D) of these images
    bank: Tensor  # (M, D) embeddings of train
    confusion: Tensor | None  # (num_classes, num_classes) counts of the first probe on this split: row true, column predicted
    predicted: Tensor | None = None  # (N,) the classes that the first probe predicts for these images
    features: Features = field(default_factory=dict)  # of the images shown, all that the probes look at
    fitted: dict[str, Fitted] = field(default_factory=dict)  # by probe
    figures: dict[str, Callable[[], "dict[str, Figure]"]] = field(default_factory=dict)  # what they show -> makes them by name


def suffix(tta: int) -> str:
    """What the name of every score ends in, so that scores with test-time augmentation are never taken for those without."""
    return f"_tta{tta}" if tta else ""


def score_titles(probes: Mapping[str, Probe], tta: int) -> dict[str, str]:
    """name -> title of the scores that these probes give, without the split."""
    extra = f", averaged over shifts of {tta} pixel{'s' * (tta > 1)}" if tta else ""
    return {f"{name}{suffix(tta)}": f"{title}{extra}" for probe in probes.values() for name, title in probe.titles().items()}


def applicable(probes: Mapping[str, Probe], encoder: Encoder, device: Device, projects: bool = False) -> dict[str, Probe]:
    """Those that the encoder has the features for, fitted to the size of its feature map. Raises UserError where there is none.

    projects: whether there is a projector, whose output is a feature.
    """
    found = {name: probe for name, probe in probes.items() if encoder.has_map or not probe.feature.startswith("map")}
    found = {name: probe for name, probe in found.items() if projects or probe.feature != "projection"}
    if not found:
        raise UserError("evaluation: no probe fits this encoder, which has no feature map; evaluation=standard has others")
    for probe in found.values():
        probe.adapt(encoder, device)
    return found


def cells_of(probes: Mapping[str, Probe]) -> set[int]:
    """The sizes to which their feature maps are pooled."""
    return {int(probe.feature.removeprefix("map_")) for probe in probes.values() if probe.feature.startswith("map_")}


def evaluate(
    probes: Mapping[str, Probe], dataset: Dataset, features: FeatureStore, read_test: bool, fits: Mapping[str, str] | None = None
) -> Evaluation:
    """Fit all probes to frozen features and score them on val and, if `read_test`, on test.

    fits: by probe, the hash of all that its fit depends on besides the features; a fit that is kept under it is taken instead.

    Probes that a refit concludes have seen train and val when they predict test. The score of a probe with several draws is their mean,
    with the sample standard deviation beside it in `_std`.
    """
    if dataset.spec.classes is None:
        return _without_labels(dataset, features, read_test)
    classes = dataset.spec.classes
    train, val = (labelled(dataset, part, features) for part in ("train", "val"))
    fitted = fit(probes, train, val, features, fits or {})
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
        shown_features = features("test", shown.images) | {"images": shown.images}
        predicted = {name: each.predict(shown_features) for name, each in fitted.items()}
        for found in predicted.values():
            scores |= _accuracies("test", found, _labels(shown), end)
        classes_of_first = predicted[first][primary]
    else:
        split, shown, shown_features = "val", dataset.val, val.features
        classes_of_first = fitted[first].val[primary]

    draws = {f"{name}{end}": {"draws": len(found)} for each in fitted.values() for name, found in each.val.items() if found.ndim > 1}
    first_draw = classes_of_first.view(-1, len(shown))[0]
    confusion = confusion_matrix(_labels(shown), first_draw, len(classes))
    true, mistaken, count = most_confused(confusion)
    scores |= {
        "primary": f"{primary}{end}",
        f"{split}/per_class_accuracy": (confusion.diagonal() / confusion.sum(1)).tolist(),
        f"{split}/most_confused": f"{classes[true]} taken for {classes[mistaken]}, {count} times" if count else "none",
        "scores": {
            f"{part}/{name}_accuracy": {"title": title, "higher_is_better": True} | draws.get(name, {})
            for part in (["test"] if read_test else []) + ["val"]
            for name, title in titles.items()
        },
        "warnings": warnings,
    }
    embeddings, bank = shown_features["embedding"], train.features["embedding"]
    return Evaluation(scores, warnings, split, shown, embeddings, bank, confusion, first_draw, shown_features, fitted)


def labelled(dataset: Dataset, part: str, features: FeatureStore) -> Labelled:
    """Features and labels of "train" or "val"."""
    split = dataset.train if part == "train" else dataset.val
    return Labelled(features(part, split.images) | {"images": split.images}, _labels(split), len(dataset.classes))


def fit(probes: Mapping[str, Probe], train: Labelled, val: Labelled, features: FeatureStore, fits: Mapping[str, str]) -> dict[str, Fitted]:
    """All probes fitted, or read where they were before. A run that was killed in its evaluation fits none of them twice."""
    kept = Kept(features.kept.folder and features.kept.folder.with_name("probes"), "probes")
    found = {}
    for name, probe in probes.items():
        file = f"{name}-{features.key}-{fits[name]}" if probe.keeps and name in fits else None
        content = kept.read(file, train.labels.device) if file else None
        if isinstance(content, dict) and content.keys() == set(FIT):
            found[name] = Fitted(probe, **content)
            continue
        found[name] = probe.fit(train, val)
        if file:
            kept.write(file, {part: getattr(found[name], part) for part in FIT})
    return found


def _without_labels(dataset: Dataset, features: FeatureStore, read_test: bool) -> Evaluation:
    """No score; embeddings to look at."""
    split, shown = ("test", dataset.read_test()) if read_test else ("val", dataset.val)
    bank = features("train", dataset.train.images)["embedding"]
    return Evaluation({"scores": {}, "warnings": []}, [], split, shown, features(split, shown.images)["embedding"], bank, None)


def _labels(split: Split) -> Tensor:
    assert split.labels is not None
    return split.labels


def _accuracies(split: str, predicted: Mapping[str, Tensor], labels: Tensor, end: str) -> dict[str, float]:
    """By score, the accuracy on a split, or the mean and standard deviation over draws."""
    scores = {}
    for name, classes in predicted.items():
        each = accuracy(classes, labels)
        scores[f"{split}/{name}{end}_accuracy"] = statistics.mean(each)
        if len(each) > 1:
            scores[f"{split}/{name}{end}_std"] = statistics.stdev(each)
    return scores


def accuracy(classes: Tensor, labels: Tensor) -> list[float]:
    """One a draw, of predicted classes (N,) or (draws, N) and labels (N,)."""
    return [(draw == labels).sum().item() / len(labels) for draw in classes.view(-1, len(labels))]


def confusion_matrix(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """(num_classes, num_classes) counts; row: true class, column: predicted class."""
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def most_confused(confusion: Tensor) -> tuple[int, int, int]:
    """True class, predicted class and count of the most frequent error."""
    errors = confusion.clone().fill_diagonal_(0)
    true, predicted = divmod(int(errors.argmax()), len(errors))
    return true, predicted, int(errors[true, predicted])
