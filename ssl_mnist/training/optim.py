"""Parameter groups, the optimizer and the learning-rate schedule."""

from collections.abc import Callable, Iterable
from typing import Any

from lightly.utils.lars import LARS
from lightly.utils.scheduler import CosineWarmupScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ssl_mnist.errors import UserError

UNDECAYED = ("bias", "pos_embed", "pos_embedding", "_token", "_tokens")  # ends of parameters' names


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Weights, which decay as the optimizer says, and what never does: biases, norms, position embeddings and class tokens.

    Those are parameters of one dimension, those with a name in UNDECAYED, and those that a part of the module (one of timm, say) names
    in its method `no_weight_decay`. Both groups are in the order of `module.parameters()`.
    """
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    declared = {f"{prefix}.{name}".lstrip(".") for prefix, part in module.named_modules() for name in _no_weight_decay(part)}
    still = {name for name, p in named.items() if p.ndim <= 1 or name.endswith(UNDECAYED) or name in declared}
    return [
        {"params": [p for name, p in named.items() if name not in still]},
        {"params": [p for name, p in named.items() if name in still], "weight_decay": 0.0},
    ]


def _no_weight_decay(module: nn.Module) -> Iterable[str]:
    """Names of parameters of the module, in its own terms."""
    method = getattr(module, "no_weight_decay", None)
    return method() if callable(method) else ()


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
