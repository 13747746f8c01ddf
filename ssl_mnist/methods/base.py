"""What every method is: a pretext task around an encoder."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ssl_mnist.data import Images
from ssl_mnist.encoders import Encoder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Method(nn.Module):
    """A pretext task: it owns its heads and its loss, and all its state is in `state_dict`.

    It is given images and never a label, unless its class says `supervised = True`, which only a method that is called so may do.
    """

    num_views: int  # augmented views it wants of each image
    trains: ClassVar[bool] = True  # False: it takes no step, whatever pretrain.epochs says
    supervised: ClassVar[bool] = False  # True: it trains on train's images, and `loss` finds their classes (B,) in outputs["labels"]
    reference: ClassVar[str | None] = None  # "floor" or "ceiling": its runs are kept, and stand beside every comparison
    chance: ClassVar[dict[str, float]] = {}  # what guessing would give, by the name of a term; drawn as a line
    projects: ClassVar[bool] = False  # whether there is a projector

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Run the networks, under autocast; what it returns goes to `loss`.

        images: (B, C, H, W) in [0, 1], not augmented; views: `num_views` times (B, C, H, W) in [0, 1], augmented.
        """
        raise NotImplementedError

    def loss(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars by name from `forward`'s outputs, which arrive in float32 with autocast off.

        `loss` is minimised; every one is logged as `pretrain/<name>`. A term that is nan in a step was not measured in it.
        """
        raise NotImplementedError

    def prepare(self, images: Images) -> None:
        """Called once, before the first step, with all images (N, C, H, W) uint8 that it trains on. Here the encoder's `prepare`."""
        self.encoder.prepare(images)

    def before_step(self, progress: float) -> None:
        """Called before each optimizer step; progress in [0, 1). For schedules and prototypes."""

    def after_step(self, progress: float) -> None:
        """Called after each optimizer step; progress in (0, 1]. For teachers."""

    def representation(self) -> Encoder:
        """What is evaluated and saved: the encoder, unless a method has a better one, such as a teacher's."""
        return self.encoder

    def project(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, D) of `representation()` -> (B, P): what the loss looks at, where `projects`. A collapse shows there first."""
        raise NotImplementedError

    @property
    def projection(self) -> Callable[[Tensor], Tensor] | None:
        """`project`, or None where there is no projector."""
        return self.project if self.projects else None

    def figures(self, images: Tensor) -> "dict[str, Figure]":
        """Figures of the method at work on images (N, C, H, W) in [0, 1]; called in eval mode, without gradients."""
        return {}

    def draw(self, images: Tensor) -> "dict[str, Figure]":
        """`figures`, in eval mode and without gradients."""
        self.eval()
        with torch.no_grad():
            return self.figures(images)


def losses(
    method: Method, images: Tensor, views: tuple[Tensor, ...], autocast: torch.autocast, labels: Tensor | None = None
) -> dict[str, Tensor]:
    """One forward pass and its loss, each in its precision: networks under `autocast`, the loss in float32.

    labels: (B,), for a supervised method alone. Raises ValueError where another would get them.
    """
    if (labels is not None) != method.supervised:
        raise ValueError(
            f"{type(method).__name__}.supervised is {method.supervised}: labels are for supervised methods, and for them alone"
        )
    with autocast:
        outputs = method(images, views)
    if labels is not None:
        outputs = {**outputs, "labels": labels}
    with torch.autocast(images.device.type, enabled=False):
        return method.loss({name: value.float() if value.is_floating_point() else value for name, value in outputs.items()})
