"""A step of scikit-learn: pretrains an encoder on X without labels, and embeds.

    make_pipeline(SSLTransformer(image_shape=(1, 8, 8), epochs=20), LogisticRegression()).fit(X, y)

Shapes: N images, C channels, H and W image size, P = C H W, D = dim.
"""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ssl_mnist import config
from ssl_mnist.api import embed, training
from ssl_mnist.build import build
from ssl_mnist.data import Dataset, ImageSpec, Split, fingerprint
from ssl_mnist.data.spec import channel_statistics
from ssl_mnist.errors import UserError
from ssl_mnist.training.device import Device
from ssl_mnist.training.loop import pretrain

SMALLEST = 4  # pixels a side, ImageSpec's limit


class SSLTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Self-supervised pretraining as a transformer: X (N, P) flat, or (N, C, H, W), (N, H, W, C), (N, H, W) -> embeddings (N, D) float32.

    X is numbers of any range: the smallest one that `fit` sees becomes black and the largest white, in 256 levels, and `transform` clips
    what lies beyond. y is not looked at.

    method, encoder: options of these groups, as on the command line; image_shape: (C, H, W), or None for grey and square images, which
    the last row's end is filled up to; epochs: of pretraining, or None for the method's own number; overrides: further settings, such as
    ("pretrain.batch_size=128", "augmentation=none"); device: auto, cpu, cuda or mps; random_state: the run's seed. The augmentation is
    what suits digits for images of one channel, and photographs for others.

    After `fit`: `encoder_`, frozen, in eval mode, on the CPU; `history_`, the rows of metrics; `value_range_`, X's smallest and largest
    value. `fit` raises ValueError for what it cannot take, `overrides` among it.
    """

    def __init__(
        self,
        method: str = "simclr",
        encoder: str = "conv",
        image_shape: tuple[int, int, int] | None = (1, 28, 28),
        epochs: int | None = None,
        overrides: Sequence[str] = (),
        device: str = "auto",
        random_state: Any = 0,
    ) -> None:
        self.method = method
        self.encoder = encoder
        self.image_shape = image_shape
        self.epochs = epochs
        self.overrides = overrides
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Pretrain on X."""
        X = validate_data(self, self._flat(X), ensure_min_samples=2)
        self.value_range_ = float(X.min()), float(X.max())
        images = self._images(X)
        try:
            with training():
                settings = self._settings(images.shape[1])
                device = Device.choose(settings["device"], str(settings["precision"]))
                experiment = build(settings, device, _dataset(images.to(device.device)))
                self.history_ = list(pretrain(experiment))
        except UserError as error:
            raise ValueError(str(error)) from error
        self.encoder_ = experiment.method.representation().requires_grad_(False).eval().cpu()
        self._n_features_out = self.encoder_.dim
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        """Embed X."""
        check_is_fitted(self)
        return embed(self.encoder_, self._images(validate_data(self, self._flat(X), reset=False)), device=self.device)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _flat(self, X: Any) -> Any:
        """Images -> (N, P), channels first; anything else as it is, for scikit-learn to check."""
        if getattr(X, "ndim", 2) <= 2:
            return X
        X = np.asarray(X)
        channels, height, width = self._shape(math.prod(X.shape[1:]))
        if X.shape[1:] == (height, width, channels):
            X = X.transpose(0, 3, 1, 2)
        if X.shape[1:] != (channels, height, width) and (channels > 1 or X.shape[1:] != (height, width)):
            raise ValueError(f"X must be flat or images of {channels} x {height} x {width} (channels x height x width), got {X.shape}")
        return X.reshape(len(X), -1)

    def _images(self, X: npt.NDArray[Any]) -> torch.Tensor:
        """(N, P) -> (N, C, H, W) uint8."""
        shape = self._shape(X.shape[1])
        if self.image_shape is not None and X.shape[1] != math.prod(shape):
            raise ValueError(f"X has {X.shape[1]} features, image_shape={self.image_shape} needs {math.prod(shape)}")
        low, high = self.value_range_
        pixels = np.zeros((len(X), math.prod(shape)), np.uint8)
        pixels[:, : X.shape[1]] = ((np.clip(X, low, high) - low) / (high - low or 1.0) * 255).round()
        return torch.from_numpy(pixels.reshape(-1, *shape))

    def _shape(self, num: int) -> tuple[int, int, int]:
        """(C, H, W) of an image of `num` values."""
        if self.image_shape is None:
            side = max(SMALLEST, math.ceil(math.sqrt(num)))
            return 1, side, side
        if len(self.image_shape) != 3:
            raise ValueError(f"image_shape must be (channels, height, width) or None, got {self.image_shape}")
        return self.image_shape

    def _settings(self, channels: int) -> dict[str, Any]:
        whole = isinstance(self.random_state, int | np.integer)
        seed = self.random_state if whole else check_random_state(self.random_state).randint(2**31)
        own = {"method": self.method, "encoder": self.encoder, "device": self.device, "seed": seed, "pretrain.epochs": self.epochs}
        kind = "mnist_5k" if channels == 1 else "cifar10"  # says which augmentation suits; no data is read
        chosen = [f"{key}={value}" for key, value in own.items() if value is not None]
        settings = config.compose(f"data={kind}", *chosen, "evaluation=quick", *self.overrides)
        config.check(settings)
        return settings


def _dataset(images: torch.Tensor) -> Dataset:
    """Images (N, C, H, W) uint8 to train on; nothing is evaluated."""
    _, channels, height, width = images.shape
    mean, std = channel_statistics(images)
    spec = ImageSpec(channels, height, width, mean, std, classes=None, label_changing=[])
    nothing = Split(images[:0], None)
    return Dataset("X", spec, Split(images, None), nothing, lambda: nothing, fingerprint(images))
