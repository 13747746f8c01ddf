"""What a page knows of each image by one encoder.

Shapes: N points, D width of an embedding, K classes.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ssl_mnist.errors import UserError
from ssl_mnist.explore.neighbours import Codes, codes, nearest_others
from ssl_mnist.explore.runs import Explored, settings_of

if TYPE_CHECKING:
    from ssl_mnist.data import Dataset
    from ssl_mnist.encoders import Encoder


@dataclass(frozen=True)
class Points:
    """predicted and confidence are the linear probe's; None without labels, or where the probe could not be fitted."""

    embeddings: Tensor  # (N, D)
    seed: int  # of the layouts
    neighbours: np.ndarray  # (N, 12) positions
    codes: Codes
    predicted: np.ndarray | None  # (N,) classes
    confidence: np.ndarray | None  # (N,) probability of the predicted class
    probe: dict[str, Tensor] | None  # mean and std (D,), weight (K, D), bias (K,)


def points_of(run: Explored, encoder: "Encoder", dataset: "Dataset", chosen: Tensor, reads_test: bool, max_bytes: int) -> Points:
    """Embed and probe images of test, or of val where test is not read.

    chosen: (N,) positions of the images in their split; max_bytes: that the codes may take.
    What the run's folder keeps is not computed again.
    """
    from ssl_mnist.pipeline import probe
    from ssl_mnist.training.seeds import seed_for

    settings = settings_of(run, reads_test)
    probes, dataset = _linear(settings, dataset)
    evaluation = probe(encoder, probes, dataset, settings, run.folder)
    embeddings = evaluation.embeddings[chosen]
    fitted = _fitted(evaluation, dataset)
    predicted = confidence = None
    if fitted is not None:
        probabilities = evaluation.fitted["linear"].probe.probabilities(fitted, {"embedding": embeddings})["linear"]
        best = probabilities.max(1)
        predicted, confidence = best.indices.cpu().numpy(), best.values.cpu().numpy()
    seed = seed_for(settings["seed"], "projection") % 2**32
    return Points(embeddings, seed, nearest_others(embeddings), codes(embeddings, max_bytes), predicted, confidence, fitted)


def _linear(settings: dict[str, Any], dataset: "Dataset") -> tuple[dict[str, Any], "Dataset"]:
    """The linear probe, by its name; none where it cannot be fitted, and then the data set as one without classes."""
    from ssl_mnist.build import fitting, make_evaluation

    try:
        probes, _ = fitting(make_evaluation(settings)[0], dataset, [])
    except UserError:  # a class of too few images
        probes = {}
    return probes, dataset if probes else replace(dataset, spec=replace(dataset.spec, classes=None))


def _fitted(evaluation: Any, dataset: "Dataset") -> dict[str, Tensor] | None:
    """The probe that predicts the points: on test the refitted one, on val one of train alone, since the refit has seen val."""
    from ssl_mnist.evaluate import linear

    if not evaluation.fitted:
        return None
    found = evaluation.fitted["linear"]
    if evaluation.split == "test":
        return found.tensors
    mean, std = found.tensors["mean"], found.tensors["std"]
    inputs = (evaluation.bank - mean) / std
    assert dataset.train.labels is not None
    solution = linear.fit(inputs, dataset.train.labels, len(dataset.classes), found.facts["l2"])
    return {"mean": mean, "std": std, "weight": solution.weight, "bias": solution.bias}
