"""Everything done to a frozen encoder. `evaluate` is the protocol: choose on val, then read test, once.

Scores are fractions. Each is named by its split and by what was probed: `linear` the pooled embedding, `linear_map` the
feature map pooled to 3 x 3 by maxima, `knn` the embedding's neighbours, `linear_100_labels` the embedding with 100 labels,
`kmeans` its clusters; `_shifts` after a probe's name says that the features are averages over small shifts of the image.
"""

import statistics
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_mnist.data import Dataset, Split, draw
from ssl_mnist.encoders import Encoder
from ssl_mnist.evaluate import knn, linear
from ssl_mnist.evaluate.clusters import Clusters
from ssl_mnist.evaluate.features import Features, extract


@dataclass(frozen=True)
class Evaluation:
    scores: dict[str, Any]  # flat, ready for summary.json
    test: Split
    embeddings: Tensor  # (N, D) of the test images
    confusion: Tensor  # (num_classes, num_classes) counts of the linear probe on test: row true, column predicted


def confusion_matrix(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """(num_classes, num_classes) counts; row: true class, column: predicted class."""
    return torch.bincount(labels * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def most_confused(confusion: Tensor) -> tuple[int, int, int]:
    """True class, predicted class and count of the most frequent mistake."""
    mistakes = confusion.clone().fill_diagonal_(0)
    true, predicted = divmod(int(mistakes.argmax()), len(mistakes))
    return true, predicted, int(mistakes[true, predicted])


def evaluate(
    encoder: Encoder,
    dataset: Dataset,
    classes: list[str],
    l2: list[float],
    map_size: int,
    shift: int,
    knn_k: int,
    knn_temperature: float,
    few_labels: list[int],
    num_draws: int,
) -> Evaluation:
    """Probe a frozen encoder, which is put into eval mode and otherwise left as it is, to the bit.

    l2: the candidates for the linear probes' strength, chosen on val; probes are then refitted on train + val. The k-NN bank is
    train for val, and train + val for test. few_labels: for each of these numbers `num_draws` more probes are fitted, on that many
    images of train, equally many a class, and no others; their score is the mean over the draws, `_std` the standard deviation.
    Clusters are those of train. shift: above 0, everything is done a second time to features averaged over the image moved by up to
    so many pixels along each axis; those scores' names have `_shifts`.
    """
    encoder.eval()
    images = torch.cat([dataset.train.images, dataset.val.images])
    labels = torch.cat([dataset.train.labels, dataset.val.labels])
    shifts = {"": 0} | ({"_shifts": shift} if shift else {})
    fitted = {
        suffix: _Fitted(
            suffix,
            extract(encoder, images, map_size, pixels),
            labels,
            num_train=len(dataset.train),
            num_classes=len(classes),
            l2=l2,
            knn_k=knn_k,
            knn_temperature=knn_temperature,
            few_labels=few_labels,
            num_draws=num_draws,
        )
        for suffix, pixels in shifts.items()
    }
    scores = {name: value for each in fitted.values() for name, value in each.scores.items()}

    # Every choice is made: test is read here and nowhere else.
    test = dataset.read_test()
    features = {suffix: extract(encoder, test.images, map_size, pixels) for suffix, pixels in shifts.items()}
    predicted = {f"{name}{suffix}": classes_ for suffix in shifts for name, classes_ in fitted[suffix].predict(features[suffix]).items()}
    for name, classes_ in predicted.items():
        accuracies = [_accuracy(draw_, test.labels) for draw_ in classes_.view(-1, len(test))]
        scores[f"test/{name}_accuracy"] = statistics.mean(accuracies)
        if classes_.ndim > 1:
            scores[f"test/{name}_std"] = statistics.pstdev(accuracies)

    confusion = confusion_matrix(test.labels, predicted["linear"], len(classes))
    true, mistaken, count = most_confused(confusion)
    scores["test/per_class_accuracy"] = (confusion.diagonal() / confusion.sum(1)).tolist()
    scores["test/most_confused"] = f"{classes[true]} taken for {classes[mistaken]}, {count} times" if count else "none"
    return Evaluation(scores, test, features[""].embedding, confusion)


class _Fitted:
    """All that is fitted to features of train and val, every choice made. `scores`: on val, and what was chosen."""

    def __init__(
        self,
        suffix: str,
        features: Features,
        labels: Tensor,
        num_train: int,
        num_classes: int,
        l2: list[float],
        knn_k: int,
        knn_temperature: float,
        few_labels: list[int],
        num_draws: int,
    ) -> None:
        """suffix: of the probes' names in `scores`; features, labels: of train, then val."""
        self.num_classes, self.knn_k, self.knn_temperature = num_classes, knn_k, knn_temperature
        self.bank, self.labels = features.embedding, labels
        train_labels, val_labels = labels[:num_train], labels[num_train:]
        train, val = self.bank[:num_train], self.bank[num_train:]
        self.clusters = Clusters(train, train_labels, num_classes)
        accuracies = {
            "knn": _accuracy(knn.predict(train, train_labels, val, num_classes, knn_k, knn_temperature), val_labels),
            "kmeans": _accuracy(self.clusters.predict(val), val_labels),
        }
        self.probes: dict[str, linear.LinearProbe] = {}
        self.few: dict[str, list[linear.LinearProbe]] = {}
        self.standardisers: dict[str, tuple[Tensor, Tensor]] = {}
        for name, values in _to_probe(features).items():
            mean, std = self.standardisers[name] = linear.standardiser(values[:num_train])
            standard = (values - mean).div_(std)
            on_val = standard[num_train:], val_labels
            probe, accuracies[name] = linear.select(standard[:num_train], train_labels, *on_val, num_classes, l2)
            self.probes[name] = linear.fit(standard, labels, num_classes, probe.l2, start=probe)
            for num in few_labels if name == "linear" else []:
                drawn = [draw(train_labels, [num // num_classes] * num_classes, seed) for seed in range(num_draws)]
                chosen = [linear.select(standard[:num_train][some], train_labels[some], *on_val, num_classes, l2) for some in drawn]
                self.few[f"linear_{num}_labels"] = [probe for probe, _ in chosen]
                accuracies[f"linear_{num}_labels"] = statistics.mean(accuracy for _, accuracy in chosen)
        self.scores: dict[str, Any] = {f"val/{name}{suffix}_accuracy": accuracy for name, accuracy in accuracies.items()}
        for name, probe in self.probes.items():
            self.scores |= {f"probe/{name}{suffix}_l2": probe.l2, f"probe/{name}{suffix}_converged": probe.converged}

    def predict(self, features: Features) -> dict[str, Tensor]:
        """By the name of the probe, classes of N images: (N,), or (num_draws, N) of the probes with few labels."""
        classes = {
            "knn": knn.predict(self.bank, self.labels, features.embedding, self.num_classes, self.knn_k, self.knn_temperature),
            "kmeans": self.clusters.predict(features.embedding),
        }
        for name, values in _to_probe(features).items():
            mean, std = self.standardisers[name]
            standard = (values - mean) / std
            classes[name] = self.probes[name].predict(standard)
            for few, draws in self.few.items() if name == "linear" else []:
                classes[few] = torch.stack([probe.predict(standard) for probe in draws])
        return classes


def _to_probe(features: Features) -> dict[str, Tensor]:
    """What the linear probes look at, by their names."""
    return {"linear": features.embedding} | ({} if features.map is None else {"linear_map": features.map})


def _accuracy(predicted: Tensor, labels: Tensor) -> float:
    return (predicted == labels).sum().item() / len(labels)
