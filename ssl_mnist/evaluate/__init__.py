"""Everything done to a frozen encoder. `evaluate` is the protocol: choose on val, then read test, once.

Scores are fractions. Each is named by its split and by what was probed: `linear` the pooled embedding, `linear_map` the
feature map pooled to 3 x 3 by maxima, `knn` the embedding's neighbours, `linear_100_labels` the embedding with 100 labels,
`kmeans` its clusters.
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
from ssl_mnist.evaluate.features import extract


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
    knn_k: int,
    knn_temperature: float,
    few_labels: list[int],
    num_draws: int,
) -> Evaluation:
    """Probe a frozen encoder, which is put into eval mode and otherwise left as it is, to the bit.

    l2: the candidates for the linear probes' strength, chosen on val; probes are then refitted on train + val. The k-NN bank is
    train for val, and train + val for test. few_labels: for each of these numbers `num_draws` more probes are fitted, on that many
    images of train, equally many a class, and no others; their score is the mean over the draws, `_std` the standard deviation.
    Clusters are those of train.
    """
    encoder.eval()
    num_classes, num_train = len(classes), len(dataset.train)
    fit_labels = torch.cat([dataset.train.labels, dataset.val.labels])
    train_labels, val_labels = fit_labels[:num_train], fit_labels[num_train:]
    fit_features = extract(encoder, torch.cat([dataset.train.images, dataset.val.images]), map_size)
    train_embedding, val_embedding = fit_features.embedding[:num_train], fit_features.embedding[num_train:]

    scores: dict[str, Any] = {}
    neighbours = knn.predict(train_embedding, train_labels, val_embedding, num_classes, knn_k, knn_temperature)
    scores["val/knn_accuracy"] = _accuracy(neighbours, val_labels)
    clusters = Clusters(train_embedding, train_labels, num_classes)
    scores["val/kmeans_accuracy"] = _accuracy(clusters.predict(val_embedding), val_labels)

    probes: dict[str, linear.LinearProbe] = {}
    few: dict[str, list[linear.LinearProbe]] = {}
    standardisers: dict[str, tuple[Tensor, Tensor]] = {}
    for name, features in {"linear": fit_features.embedding, "linear_map": fit_features.map}.items():
        if features is None:
            continue
        mean, std = standardisers[name] = linear.standardiser(features[:num_train])
        standard = (features - mean).div_(std)
        val = standard[num_train:], val_labels
        probe, accuracy = linear.select(standard[:num_train], train_labels, *val, num_classes, l2)
        probes[name] = linear.fit(standard, fit_labels, num_classes, probe.l2, start=probe)
        scores |= {f"val/{name}_accuracy": accuracy, f"probe/{name}_l2": probe.l2, f"probe/{name}_converged": probes[name].converged}
        for num in few_labels if name == "linear" else []:
            drawn = [draw(train_labels, [num // num_classes] * num_classes, seed) for seed in range(num_draws)]
            chosen = [linear.select(standard[:num_train][some], train_labels[some], *val, num_classes, l2) for some in drawn]
            few[f"linear_{num}_labels"] = [probe for probe, _ in chosen]
            scores[f"val/linear_{num}_labels_accuracy"] = statistics.mean(accuracy for _, accuracy in chosen)

    # Every choice is made: test is read here and nowhere else.
    test = dataset.read_test()
    test_features = extract(encoder, test.images, map_size)
    predicted = {
        "knn": knn.predict(fit_features.embedding, fit_labels, test_features.embedding, num_classes, knn_k, knn_temperature),
        "kmeans": clusters.predict(test_features.embedding),
    }
    for name, features in {"linear": test_features.embedding, "linear_map": test_features.map}.items():
        if features is not None:
            mean, std = standardisers[name]
            predicted[name] = probes[name].predict((features - mean) / std)
    scores |= {f"test/{name}_accuracy": _accuracy(classes_, test.labels) for name, classes_ in predicted.items()}
    mean, std = standardisers["linear"]
    for name, draws in few.items():
        accuracies = [_accuracy(probe.predict((test_features.embedding - mean) / std), test.labels) for probe in draws]
        scores |= {f"test/{name}_accuracy": statistics.mean(accuracies), f"test/{name}_std": statistics.pstdev(accuracies)}

    confusion = confusion_matrix(test.labels, predicted["linear"], num_classes)
    true, mistaken, count = most_confused(confusion)
    scores["test/per_class_accuracy"] = (confusion.diagonal() / confusion.sum(1)).tolist()
    scores["test/most_confused"] = f"{classes[true]} taken for {classes[mistaken]}, {count} times" if count else "none"
    return Evaluation(scores, test, test_features.embedding, confusion)


def _accuracy(predicted: Tensor, labels: Tensor) -> float:
    return (predicted == labels).sum().item() / len(labels)
