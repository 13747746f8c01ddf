"""Several processes train one model, each with its part of every batch: ranks of torch.distributed, gloo on CPUs, nccl on CUDA.

torchrun starts them, or `devices=N` does (launch.py). Gradients and terms are means over the ranks, which are those of the whole batch,
but for what a network computes of its part alone: BatchNorm, unless it is synchronised (CUDA).
"""

import atexit
import datetime
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from ssl_mnist.errors import UserError
from ssl_mnist.training.launch import in_job

PATIENCE = datetime.timedelta(minutes=30)  # with a rank that lives and is silent, as while it downloads; of one that died all hear at once


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; by default there is no other."""

    rank: int = 0
    num: int = 1

    @classmethod
    def join(cls, device: str) -> "Ranks":
        """Meet the other processes that the environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) names."""
        if not in_job():
            return cls()
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
            atexit.register(distributed.destroy_process_group)  # else its threads may abort a process that has done its work
        return cls(distributed.get_rank(), distributed.get_world_size())

    def agree(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        if self.num == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held, src=0)
        return held[0]

    def any(self, value: bool, device: torch.device) -> bool:
        """Whether it is true on any rank."""
        if self.num == 1:
            return value
        flag = torch.tensor(float(value), device=device)
        distributed.all_reduce(flag)
        return flag.item() > 0

    def part(self, order: Tensor, batch_size: int) -> Tensor:
        """Of an order of images (N,), cut into batches of `batch_size`, this rank's part of each batch, one after the other."""
        if self.num == 1:
            return order
        whole = order[: len(order) // batch_size * batch_size]
        return whole.view(-1, self.num, batch_size // self.num)[:, self.rank].reshape(-1)

    def average_gradients(self, module: nn.Module) -> None:
        """The mean over the ranks, in place."""
        if self.num == 1:
            return
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.num
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def average(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean over the ranks of each of a method's terms, detached."""
        detached = {name: value.detach() for name, value in terms.items()}
        if self.num == 1:
            return detached
        values = torch.stack([value.float() for value in detached.values()])
        distributed.all_reduce(values)
        return dict(zip(detached, values / self.num, strict=True))


def check(batch_size: int, ranks: Ranks) -> None:
    """Raises UserError where a batch cannot be shared out."""
    if batch_size % ranks.num:
        raise UserError(f"pretrain.batch_size={batch_size} cannot be shared out equally over {ranks.num} devices")
