"""Linear probe: multinomial logistic regression on standardised frozen features, solved to convergence.

The objective is scikit-learn's, mean cross-entropy + l2 / 2 * ||W||^2 (its C is 1 / (l2 N)), and so is the stopping rule, the
largest gradient entry below a tolerance. It is solved here by torch's L-BFGS, because on 60,000 x 1,152 features scikit-learn's
own takes several times as long and runs on the CPU only.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Features, Fitted, Labelled, Probe
from ssl_mnist.training.device import Device


class Linear(Probe):
    """On the embedding. L2 is chosen by the loss on val, then the probe is refitted on train + val."""

    def __init__(self, l2: list[float]) -> None:
        """l2: the candidates."""
        check_l2(l2)
        self.l2 = l2

    suffix = ""  # of the score's name

    @property
    def score(self) -> str:
        return f"{self.name}{self.suffix}"

    def titles(self) -> dict[str, str]:
        return {self.score: "linear probe"}

    def fit(self, train: Labelled, val: Labelled) -> Fitted:
        num_classes = train.num_classes
        mean, std = standardiser(train.features[self.feature])
        inputs = torch.cat([train.features[self.feature], val.features[self.feature]]).sub_(mean).div_(std)
        labels = torch.cat([train.labels, val.labels])
        num_train = len(train.labels)
        chosen = select(inputs[:num_train], train.labels, inputs[num_train:], val.labels, num_classes, self.l2)
        probe = fit(inputs, labels, num_classes, chosen.l2, start=chosen)

        warnings = [] if probe.converged else [f"{self.score}: the probe did not converge"]
        warnings += at_edge(self.score, chosen.l2, self.l2)
        facts = {"l2": chosen.l2, "converged": probe.converged}
        tensors = {"mean": mean, "std": std, "weight": probe.weight, "bias": probe.bias}
        return Fitted(self, tensors, {self.score: chosen.predict(inputs[num_train:])}, facts, warnings)

    def predict(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        return {self.score: self._logits(tensors, features).argmax(1)}

    def probabilities(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        return {self.score: self._logits(tensors, features).softmax(1)}

    def _logits(self, tensors: dict[str, Tensor], features: Features) -> Tensor:
        inputs = (features[self.feature] - tensors["mean"]) / tensors["std"]
        return F.linear(inputs, tensors["weight"], tensors["bias"])


MAX_COLUMNS = 4096  # of a feature map's maxima: more take long and tell little


class LinearMap(Linear):
    """On the feature map's maxima in cells x cells parts; in fewer, and under a name that says so, where more than 4,096 columns result."""

    def __init__(self, l2: list[float], cells: int) -> None:
        super().__init__(l2)
        if not 1 <= cells <= 28:
            raise UserError(f"cells must be in 1..28, got {cells}")
        self.cells, self.feature, self.suffix = cells, f"map_{cells}", ""

    def adapt(self, encoder: Encoder, device: Device) -> None:
        map_shape = encoder.map_shape()
        assert map_shape is not None
        cells = next(size for size in range(self.cells, 0, -1) if size == 1 or map_shape[0] * size**2 <= MAX_COLUMNS)
        if cells < self.cells:
            self.cells, self.feature, self.suffix = cells, f"map_{cells}", f"_{cells}x{cells}"

    def titles(self) -> dict[str, str]:
        return {self.score: f"linear probe, {self.cells} x {self.cells} map"}


def check_l2(l2: Sequence[float]) -> None:
    """Raises UserError unless these can be candidates for an L2 strength."""
    if not l2 or not all(0 < value < math.inf for value in l2):
        raise UserError(f"l2 must be a list of numbers above 0, got {list(l2)}")


def at_edge(name: str, chosen: float, candidates: Sequence[float]) -> list[str]:
    """A warning where the chosen strength is the smallest or largest of several: a better one may lie beyond."""
    if len(candidates) > 1 and chosen in (min(candidates), max(candidates)):
        return [f"{name}: the chosen L2 of {chosen:g} lies at the edge of its candidates"]
    return []


class Solution(NamedTuple):
    weight: Tensor  # (num_classes, D)
    bias: Tensor  # (num_classes,)
    l2: float
    converged: bool

    def predict(self, features: Tensor) -> Tensor:
        """(N, D) standardised -> (N,) classes."""
        return F.linear(features, self.weight, self.bias).argmax(1)


def standardiser(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column of (N, D), both (D,); a constant column is divided by 1."""
    std, mean = torch.std_mean(features, dim=0, correction=0)
    return mean, torch.where(std > 1e-6, std, 1.0)


def fit(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    l2: float,
    start: Solution | None = None,
    tolerance: float = 1e-4,
    max_iter: int = 1000,
) -> Solution:
    """The minimum for standardised features (N, D) and labels (N,); the objective is convex, so `start` only saves time."""
    # Padded to a multiple of 16 columns: on a CPU a product with 10 columns takes six times as long as one with 16.
    weight = torch.zeros(features.shape[1], -(-num_classes // 16) * 16, device=features.device)
    bias = torch.zeros(num_classes, device=features.device)
    if start is not None:
        weight[:, :num_classes], bias[:] = start.weight.T, start.bias
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    solver = torch.optim.LBFGS(
        parameters, max_iter=max_iter, tolerance_grad=tolerance, tolerance_change=0.0, history_size=20, line_search_fn="strong_wolfe"
    )

    wide = torch.float32 if features.device.type == "mps" else torch.float64  # MPS has no float64

    def objective() -> Tensor:
        solver.zero_grad()
        logits = (features @ weight)[:, :num_classes] + bias
        logits = logits.to(wide)  # near the minimum the line search tells losses apart by their last digits
        loss = F.cross_entropy(logits, labels) + l2 / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(objective)
        objective()
    converged = all(bool(p.grad.abs().max() <= tolerance) for p in parameters if p.grad is not None)
    return Solution(weight.detach()[:, :num_classes].T.contiguous(), bias.detach(), l2, converged)


def select(features: Tensor, labels: Tensor, val_features: Tensor, val_labels: Tensor, num_classes: int, l2: Sequence[float]) -> Solution:
    """The solution whose L2 has the lowest cross-entropy on the validation split.

    Not the highest accuracy: among good candidates that differs by a handful of images, and the choice would be an accident. The
    candidates are solved from the strongest to the weakest, each starting at the one before.
    """
    solutions: list[Solution] = []
    for strength in sorted(l2, reverse=True):
        solutions.append(fit(features, labels, num_classes, strength, start=solutions[-1] if solutions else None))
    return min(solutions, key=lambda found: F.cross_entropy(F.linear(val_features, found.weight, found.bias), val_labels).item())
