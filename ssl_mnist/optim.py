"""Parameter groups and the learning rate's course."""

from collections.abc import Callable
from typing import Any

from lightly.utils.scheduler import CosineWarmupScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Weights, which decay as the optimizer says, and biases and BatchNorm's parameters, which never do."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def build(optimizer: Callable[..., Optimizer], module: nn.Module, num_steps: int, warmup_steps: int) -> tuple[Optimizer, LRScheduler]:
    """The optimizer over the module's groups, and its schedule: linear warm-up, then half a cosine down to 0.1 % (per step)."""
    built = optimizer(parameter_groups(module))
    return built, CosineWarmupScheduler(built, warmup_epochs=warmup_steps, max_epochs=max(num_steps, 1))
