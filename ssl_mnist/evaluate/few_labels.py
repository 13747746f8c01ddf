"""Linear probes with few labels: n labels in all, whatever is chosen is chosen inside them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from ssl_mnist.data import draw
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Features, Fitted, Labelled, Probe
from ssl_mnist.evaluate.linear import check_l2, select, standardiser

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


class FewLabels(Probe):
    """Logistic regression on the embeddings of n images of train, equally many a class, and no others; the score is the mean over draws.

    L2 is chosen by five-fold cross-validation inside the n labels, or fewer folds where a class has fewer. Draws are nested (100 labels
    are among the 500 of the same draw) and the same for every run. The features are standardised by the n images.
    """

    def __init__(self, num_labels: list[int], num_draws: int, l2: list[float]) -> None:
        """num_labels: the label budgets; l2: candidates."""
        check_l2(l2)
        if not num_labels or min(num_labels) < 1:
            raise UserError(f"num_labels must be a list of whole numbers above 0, got {num_labels}")
        if not 1 <= num_draws <= 1000:
            raise UserError(f"num_draws must be in 1..1,000, got {num_draws}")
        self.num_labels, self.num_draws, self.l2 = num_labels, num_draws, l2

    def titles(self) -> dict[str, str]:
        return {self.score(num): f"linear probe, {num:,} labels" for num in sorted(self.num_labels)}

    def score(self, num: int) -> str:
        return f"linear_{num}_labels"

    def check(self, train_counts: list[int], val_counts: list[int]) -> None:
        num_classes, most = len(train_counts), len(train_counts) * min(train_counts)
        for num in self._unfit(train_counts):
            raise UserError(
                f"evaluation.{self.name}.num_labels must be multiples of {num_classes} (the classes), "
                f"at least {2 * num_classes} and at most {most:,}, got {num}"
            )

    def reduce(self, train_counts: list[int], val_counts: list[int]) -> str | None:
        unfit = self._unfit(train_counts)
        if len(unfit) == len(self.num_labels):
            return None
        self.num_labels = [num for num in self.num_labels if num not in unfit]
        return f"{' and '.join(f'{num:,}' for num in unfit)} labels"

    def _unfit(self, train_counts: list[int]) -> list[int]:
        """The budgets that these classes do not have, or cannot share equally."""
        num_classes, most = len(train_counts), len(train_counts) * min(train_counts)
        return [num for num in self.num_labels if num % num_classes or not 2 * num_classes <= num <= most]

    def fit(self, train: Labelled, val: Labelled) -> Fitted:
        import sklearn.linear_model  # noqa: F401  # its libraries have to be there to be limited

        with threadpool_limits(1):  # two BLAS threads take eight times as long on matrices this small
            models = {
                self.score(num): [self._fit(train, val, self._drawn(train, num, seed)) for seed in range(self.num_draws)]
                for num in sorted(self.num_labels)
            }

        tensors = {
            f"{score}/{part}": torch.stack([getattr(model, part) for model in draws])
            for score, draws in models.items()
            for part in _Model._fields
        }
        return Fitted(self, tensors, self.predict(tensors, val.features))

    def predict(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        found = {}
        for score in self.titles():
            draws = zip(*(tensors[f"{score}/{part}"] for part in _Model._fields), strict=True)
            found[score] = torch.stack([_Model(*parts).predict(features["embedding"]) for parts in draws])
        return found

    def _drawn(self, train: Labelled, num: int, seed: int) -> Tensor:
        return draw(train.labels, [num // train.num_classes] * train.num_classes, seed)

    def _fit(self, train: Labelled, val: Labelled, drawn: Tensor) -> "_Model":
        mean, std = standardiser(train.features["embedding"][drawn])
        inputs = ((train.features["embedding"][drawn] - mean) / std).cpu().double().numpy()
        labels = train.labels[drawn].cpu().numpy()
        strength = self._cross_validated(inputs, labels, min(5, len(labels) // train.num_classes))
        model = _regression(strength, len(labels)).fit(inputs, labels)
        weight, bias = (torch.from_numpy(array).float().to(mean.device) for array in (model.coef_, model.intercept_))
        if len(bias) == 1:  # scikit-learn keeps one row for two classes
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        return _Model(mean, std, weight, bias)

    def _cross_validated(self, inputs: np.ndarray, labels: np.ndarray, num_folds: int) -> float:
        """The L2 with the lowest mean cross-entropy on held-out folds."""
        from sklearn.metrics import log_loss
        from sklearn.model_selection import StratifiedKFold

        folds = list(StratifiedKFold(num_folds, shuffle=True, random_state=0).split(inputs, labels))

        def loss(l2: float) -> float:
            found = 0.0
            for fitting, held_out in folds:
                model = _regression(l2, len(fitting)).fit(inputs[fitting], labels[fitting])
                found += log_loss(labels[held_out], model.predict_proba(inputs[held_out]), labels=model.classes_)
            return found

        return min(sorted(self.l2, reverse=True), key=loss)


def _regression(l2: float, num: int) -> "LogisticRegression":
    """With our objective, mean cross-entropy + l2 / 2 ||W||^2."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1 / (l2 * num), max_iter=1000)


class FewLabelsTunedOnVal(FewLabels):
    """The same, but L2 is chosen by the loss on all of val's labels, and the features are standardised by all of train's images.

    What version 0.1 reported as n labels. It sees far more than n labels, as its name says.
    """

    def titles(self) -> dict[str, str]:
        return {self.score(num): f"linear probe, {num:,} labels, tuned on val" for num in sorted(self.num_labels)}

    def score(self, num: int) -> str:
        return f"linear_{num}_labels_tuned_on_val"

    def _fit(self, train: Labelled, val: Labelled, drawn: Tensor) -> "_Model":
        mean, std = standardiser(train.features["embedding"])
        inputs, val_inputs = ((part - mean) / std for part in (train.features["embedding"][drawn], val.features["embedding"]))
        found = select(inputs, train.labels[drawn], val_inputs, val.labels, train.num_classes, self.l2)
        return _Model(mean, std, found.weight, found.bias)


class _Model(NamedTuple):
    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    weight: Tensor  # (K, D)
    bias: Tensor  # (K,)

    def predict(self, embeddings: Tensor) -> Tensor:
        """(N, D) -> (N,) classes."""
        return torch.nn.functional.linear((embeddings - self.mean) / self.std, self.weight, self.bias).argmax(1)
