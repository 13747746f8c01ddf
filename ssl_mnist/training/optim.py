"""Parameter groups, the optimizer and the learning-rate schedule."""

from collections.abc import Callable
from typing import Any

from lightly.utils.lars import LARS
from lightly.utils.scheduler import CosineWarmupScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ssl_mnist.errors import UserError


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Weights, which decay as the optimizer says, and biases and BatchNorm's parameters, which never do."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(
    partial: Callable[..., Optimizer], module: nn.Module, num_steps: int, warmup_steps: int
) -> tuple[Optimizer, LRScheduler]:
    """The optimizer over the module's groups, and its schedule: linear warm-up, then half a cosine down to 0.1 % (per step).

    Raises UserError for settings that the optimizer refuses.
    """
    try:
        optimizer = partial(parameter_groups(module))
    except (ValueError, TypeError, IndexError) as error:
        raise UserError(f"the optimizer refuses its settings: {error}; see optimizer.*") from error
    if not isinstance(optimizer, Optimizer):
        raise UserError(f"optimizer._target_ must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if isinstance(optimizer, LARS) and not optimizer.param_groups[0]["weight_decay"]:
        raise UserError("optimizer=lars scales the steps of decaying weights alone; set optimizer.weight_decay above 0")
    return optimizer, CosineWarmupScheduler(optimizer, warmup_epochs=warmup_steps, max_epochs=max(num_steps, 1))
