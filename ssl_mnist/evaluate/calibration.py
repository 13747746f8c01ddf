"""Calibration: whether a probe is right as often as it is confident.

The expected calibration error (ECE) of Guo et al. 2017 (https://arxiv.org/abs/1706.04599), equation 3: predictions are sorted by their
confidence, the largest probability, into bins of equal width; the ECE is the mean over predictions of the distance between their bin's
accuracy and its mean confidence.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.study import Case, Outcome, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Calibration(Study):
    """The ECE of probes that have probabilities, on the images that are shown, and their reliability diagram."""

    def __init__(self, probes: list[str], num_bins: int) -> None:
        super().__init__(probes)
        if not 1 <= num_bins <= 1000:
            raise UserError(f"num_bins must be in 1..1,000, got {num_bins}")
        self.num_bins = num_bins

    def run(self, case: Case) -> Outcome:
        shown = case.evaluation.shown
        assert shown.labels is not None
        titles = case.titles(self.probes)
        scores: dict[str, Any] = {}
        declared, diagrams, without = {}, {}, []
        for name, each in case.fitted(self.probes, case.store).items():
            probabilities = case.scores(each.probabilities(case.evaluation.features))
            if not probabilities:
                without.append(f"{name} has no probabilities, so no calibration error")
            for score, found in probabilities.items():
                bins = reliability(found, shown.labels, self.num_bins)
                key = f"{case.split}/{score}_ece"
                scores[key] = bins.ece
                declared[key] = {"title": f"{titles[score]}, ECE", "higher_is_better": False}
                diagrams[score] = {"title": titles[score], "ece": bins.ece} | bins.lists()
        if diagrams:
            scores[f"{case.split}/calibration"] = diagrams
        return Outcome(scores, declared, without, lambda: self.draw(diagrams, case.split))

    def draw(self, diagrams: dict[str, dict[str, Any]], split: str) -> "dict[str, Figure]":
        from ssl_mnist import plots

        return {"reliability": plots.reliability(diagrams, split)} if diagrams else {}


class Reliability(NamedTuple):
    """Of each bin: how many predictions, the share of them that is right, and their mean confidence, both nan in an empty bin."""

    num: Tensor  # (M,)
    accuracy: Tensor
    confidence: Tensor

    @property
    def ece(self) -> float:
        filled = self.num > 0
        gaps = (self.accuracy - self.confidence).abs()[filled]
        return float((gaps * self.num[filled]).sum() / self.num.sum())

    def lists(self) -> dict[str, list[Any]]:
        """For JSON: None in an empty bin."""
        nums = self.num.long().tolist()
        return {
            "num": nums,
            **{
                name: [value if num else None for value, num in zip(values.tolist(), nums, strict=True)]
                for name, values in (("accuracy", self.accuracy), ("confidence", self.confidence))
            },
        }


def reliability(probabilities: Tensor, labels: Tensor, num_bins: int) -> Reliability:
    """Of probabilities (N, K) and labels (N,); bin m of M holds confidences in ((m - 1) / M, m / M]."""
    confidence, classes = probabilities.cpu().double().max(1)  # not on MPS, which has no float64
    right = (classes == labels.cpu()).double()
    index = (confidence * num_bins).ceil().long().sub_(1).clamp_(0, num_bins - 1)
    num, accuracy, mean = (
        torch.zeros(num_bins, dtype=torch.float64).index_add_(0, index, values) for values in (torch.ones_like(right), right, confidence)
    )
    return Reliability(num, accuracy / num, mean / num)
