"""What a probe is: something fitted to frozen features and their labels, which then predicts classes.

Shapes: N images, D columns of a feature, K classes.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from ssl_mnist.encoders import Encoder
    from ssl_mnist.training.device import Device

# By name: "embedding" or "map_<cells>", (N, D) float32; for probes that train on images, "images", (N, C, H, W) uint8.
Features = dict[str, Any]


@dataclass(frozen=True)
class Labelled:
    """Features of a split and its labels (N,)."""

    features: Features
    labels: Tensor
    num_classes: int


@dataclass(frozen=True)
class Fitted:
    """A fitted probe, every choice made.

    tensors: all that `probe` needs to predict; val: by score, the classes predicted for val's images before val's labels served to fit
    anything, (N,) or (draws, N); facts: what was chosen, for the summary, such as `l2`; warnings: what a reader of the score has to know.
    """

    probe: "Probe"
    tensors: dict[str, Tensor]
    val: dict[str, Tensor]
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def predict(self, features: Features) -> dict[str, Tensor]:
        """Features of any images -> by score, their classes, (N,) or (draws, N)."""
        return self.probe.predict(self.tensors, features)

    def probabilities(self, features: Features) -> dict[str, Tensor]:
        """By score, (N, K), of a probe that has them; else nothing."""
        return self.probe.probabilities(self.tensors, features)


class Probe:
    """Base of all probes. `name`: its key in the group `evaluation`, set by `build`; `feature`: the feature it looks at."""

    name: str
    feature = "embedding"
    keeps = True  # whether what was fitted is kept in the run's folder: fitting takes longer than reading it

    def titles(self) -> dict[str, str]:
        """The scores it gives: name -> title. The first one is what its figures show."""
        raise NotImplementedError

    def adapt(self, encoder: "Encoder", device: "Device") -> None:
        """Fit the probe's own settings to the encoder, such as to the size of its feature map, and to where the run computes."""

    def check(self, train_counts: list[int], val_counts: list[int]) -> None:
        """Raises UserError where the probe cannot be fitted to so many images of each class."""

    def reduce(self, train_counts: list[int], val_counts: list[int]) -> str | None:
        """Of what `check` refuses, leave out what cannot be fitted; returns it in words, or None where nothing would remain."""
        return None

    def fit(self, train: Labelled, val: Labelled) -> Fitted:
        """Choices are made on val, or inside the labels that the score's name says."""
        raise NotImplementedError

    def predict(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        """By score, classes (N,) or (draws, N), from `fit`'s tensors."""
        raise NotImplementedError

    def probabilities(self, tensors: dict[str, Tensor], features: Features) -> dict[str, Tensor]:
        """By score, probabilities of the classes (N, K); nothing where the probe has none."""
        return {}
