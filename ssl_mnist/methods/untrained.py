"""No training: the encoder is evaluated as it was initialised, or, where it is no network (raw pixels, PCA), as it is. The floors."""

from typing import ClassVar

from ssl_mnist.methods.base import Method


class Untrained(Method):
    """Whatever the settings say of training, none is done. What a method adds to its encoder is its score less this one's."""

    num_views = 1
    trains: ClassVar[bool] = False
    reference: ClassVar[str | None] = "floor"
