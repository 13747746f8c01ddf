"""What probes with few labels share: label budgets, and the draws of labelled images that all of them see.

Shapes: N images, D columns of a feature, K classes, n labelled images.
"""

from typing import Any

import torch
from torch import Tensor

from ssl_mnist.data import draw
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.base import Features, Fitted, Labelled, Probe


class BudgetProbe(Probe):
    """A probe that is fitted to n labelled images of train, equally many a class, for each of several n; the score is the mean over draws.

    Draws are nested (100 labels are among the 500 of the same draw) and the same for every run and every such probe. A subclass fits one
    draw; it may use all images of train without their labels where its name says so.
    """

    least = 1  # labelled images a class that it can be fitted to
    title: str  # of its scores, before the number of labels
    stem: str  # of its scores' names

    def __init__(self, num_labels: list[int], num_draws: int, all_labels: bool = False) -> None:
        """num_labels: the label budgets n; all_labels: whether all labels of train are one more, drawn once."""
        if (not num_labels and not all_labels) or min(num_labels, default=1) < 1:
            raise UserError(f"num_labels must be a list of whole numbers above 0, got {num_labels}")
        if not 1 <= num_draws <= 1000:
            raise UserError(f"num_draws must be in 1..1,000, got {num_draws}")
        self.num_labels, self.num_draws, self.all_labels = sorted(set(num_labels)), num_draws, all_labels

    def score(self, num: int) -> str:
        return f"{self.stem}_{num}_labels"

    def titles(self) -> dict[str, str]:
        everything = {f"{self.stem}_all_labels": f"{self.title}, all labels"} if self.all_labels else {}
        return {self.score(num): f"{self.title}, {num:,} labels" for num in self.num_labels} | everything

    def check(self, train_counts: list[int], val_counts: list[int]) -> None:
        num_classes, most = len(train_counts), len(train_counts) * min(train_counts)
        for num in self._unfit(train_counts):
            raise UserError(
                f"evaluation.{self.name}.num_labels must be multiples of {num_classes} (the classes), "
                f"at least {self.least * num_classes} and at most {most:,}, got {num}"
            )

    def reduce(self, train_counts: list[int], val_counts: list[int]) -> str | None:
        unfit = self._unfit(train_counts)
        if len(unfit) == len(self.num_labels) and not self.all_labels:
            return None
        self.num_labels = [num for num in self.num_labels if num not in unfit]
        return f"{' and '.join(f'{num:,}' for num in unfit)} labels"

    def _unfit(self, train_counts: list[int]) -> list[int]:
        """The budgets that these classes do not have, or cannot share equally."""
        num_classes, most = len(train_counts), len(train_counts) * min(train_counts)
        return [num for num in self.num_labels if num % num_classes or not self.least * num_classes <= num <= most]

    def fit(self, train: Labelled, val: Labelled) -> Fitted:
        shared = self.prepare(train)
        tensors = {f"all/{name}": values for name, values in self.shared_tensors(train).items()}
        draws = {self.score(num): [self._drawn(train, num, seed) for seed in range(self.num_draws)] for num in self.num_labels}
        if self.all_labels:
            draws[f"{self.stem}_all_labels"] = [torch.arange(len(train.labels), device=train.labels.device)]
        for score, drawn in draws.items():
            fits = [self.fit_draw(train, val, each, shared, seed) for seed, each in enumerate(drawn)]
            tensors |= {f"{score}/{part}": torch.stack([fit[part] for fit in fits]) for part in fits[0]}
        return Fitted(self, tensors, self.predict(tensors, val.features))

    def predict(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        found = {}
        shared = {name.removeprefix("all/"): values for name, values in tensors.items() if name.startswith("all/")}
        for score in self.titles():
            parts = {name.rpartition("/")[2]: values for name, values in tensors.items() if name.startswith(f"{score}/")}
            num_draws = len(next(iter(parts.values())))
            draws = [{name: values[i] for name, values in parts.items()} for i in range(num_draws)]
            found[score] = torch.stack([self.predict_draw(shared | each, features) for each in draws])
        return found

    def _drawn(self, train: Labelled, num: int, seed: int) -> Tensor:
        return draw(train.labels, [num // train.num_classes] * train.num_classes, seed)

    def prepare(self, train: Labelled) -> Any:
        """What the fits of all draws share, made of train's features alone."""

    def shared_tensors(self, train: Labelled) -> dict[str, Tensor]:
        """What predictions of all draws need alike; kept under names that begin with `all/`."""
        return {}

    def fit_draw(self, train: Labelled, val: Labelled, drawn: Tensor, shared: Any, seed: int) -> dict[str, Tensor]:
        """Fit to the images at `drawn` (n,). Returns what `predict_draw` needs; names without a slash. val is given for probes that say in
        their name that they use it. seed: of the draw, 0 and up."""
        raise NotImplementedError

    def predict_draw(self, tensors: dict[str, Tensor], features: Features) -> Tensor:
        """(N,) classes."""
        raise NotImplementedError
