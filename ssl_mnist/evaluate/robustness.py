"""Accuracy on corrupted images, and the mean corruption error (mCE) against the untrained encoder.

Hendrycks and Dietterich 2019 (https://arxiv.org/abs/1903.12261): the errors on a corruption, summed over its strengths and divided by
those of a baseline, averaged over the corruptions. Their baseline is AlexNet; here it is the same encoder before training, with the
same probes fitted to it: 1 is no better than untrained, 0 no error at all.
"""

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssl_mnist.data import Images, as_float, examples, random_part
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Features, Fitted
from ssl_mnist.evaluate.corruptions import Corruption
from ssl_mnist.evaluate.features import FeatureStore, extract
from ssl_mnist.evaluate.protocol import accuracy
from ssl_mnist.evaluate.study import Case, Outcome, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Accuracies = dict[str, dict[str, list[float]]]  # score -> corruption -> one a strength


class Robustness(Study):
    """The fitted probes on corrupted copies of the images that are shown."""

    def __init__(self, probes: list[str], num_images: int, **corruptions: Corruption) -> None:
        """num_images: of those shown, at most; a stratified part, always the same, where there are more."""
        super().__init__(probes)
        if num_images < 1:
            raise UserError(f"num_images must be 1 or more, got {num_images}")
        if not corruptions:
            raise UserError("there is no corruption; evaluation=robustness has eight")
        for name, each in corruptions.items():
            if not isinstance(each, Corruption):
                raise UserError(f"{name} must be a Corruption of ssl_mnist.evaluate.corruptions, got {type(each).__name__}")
        self.num_images, self.corruptions = num_images, corruptions

    def run(self, case: Case) -> Outcome:
        images, labels = case.evaluation.shown.images, case.evaluation.shown.labels
        assert labels is not None
        if len(labels) > self.num_images:
            index = random_part(case.evaluation.shown, self.num_images).to(labels.device)
            images, labels = images[index], labels[index]
        titles = case.titles(self.probes)
        clean, corrupted = self.measure(case, case.store, images, labels)
        clean_before, before = self.measure(case, case.untrained(), images, labels)

        scores: dict[str, Any] = {}
        declared, warnings, probes = {}, [], {}
        for score, title in titles.items():
            key = f"{case.split}/{score}_corrupted_accuracy"
            scores[key] = statistics.mean(value for values in corrupted[score].values() for value in values)
            declared[key] = {"title": f"{title}, corrupted", "higher_is_better": True, "num_images": len(labels)}
            error, undefined = mean_corruption_error(corrupted[score], before[score])
            if error is not None:
                scores[f"{case.split}/{score}_mce"] = error
                declared[f"{case.split}/{score}_mce"] = {"title": f"{title}, mCE", "higher_is_better": False}
            if undefined:
                warnings.append(f"{score}: the untrained encoder makes no error on {', '.join(undefined)}, which the mCE leaves out")
            probes[score] = {
                "title": title,
                "clean": clean[score],
                "untrained_clean": clean_before[score],
                "accuracy": corrupted[score],
                "untrained": before[score],
            }
        about = {name: {"strength": each.title, "strengths": each.strengths, "none": each.none} for name, each in self.corruptions.items()}
        found = {"num_images": len(labels), "corruptions": about, "probes": probes}
        scores[f"{case.split}/robustness"] = found
        return Outcome(scores, declared, warnings, lambda: self.draw(case, found))

    def measure(self, case: Case, store: FeatureStore, images: Images, labels: Tensor) -> tuple[dict[str, float], Accuracies]:
        """By score: the accuracy on the clean images, and those on their corrupted copies; of an encoder's features."""
        fitted = case.fitted(self.probes, store)
        clean = case.scores(accuracies(fitted, extract(store.encoder, images, store.cells, store.tta), labels))
        found: Accuracies = {score: {name: [] for name in self.corruptions} for score in clean}
        for name, corruption in self.corruptions.items():
            for strength in corruption.strengths:
                features = corrupted_features(store, corruption, images, strength)
                for score, value in case.scores(accuracies(fitted, features, labels)).items():
                    found[score][name].append(value)
        return clean, found

    def draw(self, case: Case, found: Mapping[str, Any]) -> "dict[str, Figure]":
        from ssl_mnist import plots

        title = f"Accuracy on corrupted images ({case.split}), and on clean ones (left end of each line)"
        return {
            "corruptions": plots.image_grid(*self.pictures(case)),
            "robustness": plots.robustness(found["corruptions"], found["probes"], title),
        }

    def pictures(self, case: Case) -> tuple[list[Tensor], str, list[str], list[list[str]]]:
        """For `image_grid`: a row a corruption, of an image of each class in turn; first as it is."""
        shown = case.evaluation.shown
        originals = (examples(shown, case.dataset.classes) * 255).round().byte()
        rows, titles = [], []
        for i, corruption in enumerate(self.corruptions.values()):
            one = i % len(originals)
            copies = [next(corruption.batches(originals, strength))[one] for strength in corruption.strengths]
            rows.append(as_float(torch.stack([originals[one], *copies])))
            titles.append(["as it is", *(f"{strength:g}" for strength in corruption.strengths)])
        names = [f"{name.replace('_', ' ')}\n{each.title}" for name, each in self.corruptions.items()]
        return rows, f"Images of {case.split} and their corrupted copies", names, titles


def corrupted_features(store: FeatureStore, corruption: Corruption, images: Images, strength: float) -> Features:
    """Of corrupted copies of images (N, C, H, W) uint8; they are not kept."""
    parts = [extract(store.encoder, batch, store.cells, store.tta) for batch in corruption.batches(images, strength)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def accuracies(fitted: Mapping[str, Fitted], features: Features, labels: Tensor) -> dict[str, float]:
    """By score, the accuracy of fitted probes; the mean over draws where there are several."""
    return {
        name: statistics.mean(accuracy(classes, labels)) for each in fitted.values() for name, classes in each.predict(features).items()
    }


def mean_corruption_error(accuracy: Mapping[str, list[float]], baseline: Mapping[str, list[float]]) -> tuple[float | None, list[str]]:
    """The mCE, from accuracies by corruption, one a strength, and those of the baseline; and the corruptions it leaves out, because the
    baseline makes no error on them. None where that is all of them.
    """
    errors = {name: sum(1 - value for value in values) for name, values in accuracy.items()}
    baselines = {name: sum(1 - value for value in values) for name, values in baseline.items()}
    defined = [name for name in errors if baselines[name] > 0]
    ratios = [errors[name] / baselines[name] for name in defined]
    return statistics.mean(ratios) if ratios else None, [name for name in errors if name not in defined]
