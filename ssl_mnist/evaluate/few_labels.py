"""Linear probes with few labels: n labels in all, whatever is chosen is chosen inside them."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from ssl_mnist.evaluate.base import Features, Fitted, Labelled
from ssl_mnist.evaluate.budgets import BudgetProbe
from ssl_mnist.evaluate.linear import check_l2, select, standardiser

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


class FewLabels(BudgetProbe):
    """Logistic regression on the embeddings of the n labelled images, and no others.

    L2 is chosen by five-fold cross-validation inside the n labels, or fewer folds where a class has fewer; where a class has one image,
    nothing can be held out, and it is the strongest candidate. The features are standardised by the n images.
    """

    title, stem = "linear probe", "linear"

    def __init__(self, num_labels: list[int], num_draws: int, l2: list[float]) -> None:
        """l2: candidates."""
        check_l2(l2)
        super().__init__(num_labels, num_draws)
        self.l2 = l2

    def fit(self, train: Labelled, val: Labelled) -> Fitted:
        import sklearn.linear_model  # noqa: F401  # its libraries have to be there to be limited

        with threadpool_limits(1):  # two BLAS threads take eight times as long on matrices this small
            return super().fit(train, val)

    def fit_draw(self, train: Labelled, val: Labelled, drawn: Tensor, shared: None, seed: int) -> dict[str, Tensor]:
        mean, std = standardiser(train.features["embedding"][drawn])
        inputs = ((train.features["embedding"][drawn] - mean) / std).cpu().double().numpy()
        labels = train.labels[drawn].cpu().numpy()
        folds = min(5, len(labels) // train.num_classes)
        strength = self._cross_validated(inputs, labels, folds) if folds > 1 else max(self.l2)
        model = _regression(strength, len(labels)).fit(inputs, labels)
        weight, bias = (torch.from_numpy(array).float().to(mean.device) for array in (model.coef_, model.intercept_))
        if len(bias) == 1:  # scikit-learn keeps one row for two classes
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        return {"mean": mean, "std": std, "weight": weight, "bias": bias}

    def predict_draw(self, tensors: dict[str, Tensor], features: Features) -> Tensor:
        inputs = (features["embedding"] - tensors["mean"]) / tensors["std"]
        return torch.nn.functional.linear(inputs, tensors["weight"], tensors["bias"]).argmax(1)

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

    def score(self, num: int) -> str:
        return f"linear_{num}_labels_tuned_on_val"

    def titles(self) -> dict[str, str]:
        return {self.score(num): f"linear probe, {num:,} labels, tuned on val" for num in self.num_labels}

    def fit_draw(self, train: Labelled, val: Labelled, drawn: Tensor, shared: None, seed: int) -> dict[str, Tensor]:
        mean, std = standardiser(train.features["embedding"])
        inputs, val_inputs = ((part - mean) / std for part in (train.features["embedding"][drawn], val.features["embedding"]))
        found = select(inputs, train.labels[drawn], val_inputs, val.labels, train.num_classes, self.l2)
        return {"mean": mean, "std": std, "weight": found.weight, "bias": found.bias}
