"""What a probe is: something fitted to frozen features and their labels, which then predicts classes.

Shapes: N images, D columns of a feature.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Features = dict[str, Tensor]  # by name, "embedding" or "map_<cells>": (N, D) float32


@dataclass(frozen=True)
class Labelled:
    """Features of a split and its labels (N,)."""

    features: Features
    labels: Tensor
    num_classes: int


@dataclass(frozen=True)
class Fitted:
    """A fitted probe, every choice made.

    val: by score, the classes predicted for val's images before val's labels served to fit anything, (N,) or (draws, N);
    predict: features of any images -> the same by score; facts: what was chosen, for the summary, such as `l2`;
    warnings: what a reader of the score has to know.
    """

    val: dict[str, Tensor]
    predict: Callable[[Features], dict[str, Tensor]]
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Probe:
    """Base of all probes. `name`: its key in the group `evaluation`, set by `build`; `feature`: the feature it looks at."""

    name: str
    feature = "embedding"

    def titles(self) -> dict[str, str]:
        """The scores it gives: name -> title. The first one is what its figures show."""
        raise NotImplementedError

    def adapt(self, map_shape: tuple[int, int, int] | None) -> None:
        """Fit the probe's own settings to the encoder's feature map (K, h, w)."""

    def check(self, train_counts: list[int], val_counts: list[int]) -> None:
        """Raises UserError where the probe cannot be fitted to so many images of each class."""

    def reduce(self, train_counts: list[int], val_counts: list[int]) -> str | None:
        """Of what `check` refuses, leave out what cannot be fitted; returns it in words, or None where nothing would remain."""
        return None

    def fit(self, train: Labelled, val: Labelled) -> Fitted:
        """Choices are made on val, or inside the labels that the score's name says."""
        raise NotImplementedError
