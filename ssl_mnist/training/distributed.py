"""Several processes train one model, each with its part of every batch: ranks of torch.distributed, gloo on CPUs, nccl on CUDA.

torchrun starts them, or `devices=N` does. Gradients and terms are means over the ranks, which are those of the whole batch, but for what
a network computes of its part alone: BatchNorm, unless it is synchronised (CUDA).
"""

import contextlib
import datetime
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from ssl_mnist.errors import UserError
from ssl_mnist.training.stops import SIGNALS

PATIENCE = datetime.timedelta(minutes=30)  # with a rank that lives and is silent, as while it downloads; of one that died all hear at once
GRACE = 50  # seconds in which the others end by themselves once one has died


def in_job() -> bool:
    """Whether torchrun, or `start`, started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


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


def start(num: int, arguments: Sequence[str]) -> int:
    """Run the command as `num` processes on this machine, of which the first one prints; returns the exit status.

    A signal is passed on to all. Where one process dies, the others are ended, and what it said last is printed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(num), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if "OMP_NUM_THREADS" not in os.environ:
        shared["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // num))
    processes: list[subprocess.Popen] = []
    with _passing_on(processes), tempfile.TemporaryFile() as said:
        for rank in range(num):
            env = os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            quiet: dict[str, Any] = {} if rank == 0 else {"stdout": subprocess.DEVNULL, "stderr": said}
            processes.append(subprocess.Popen([sys.executable, "-m", "ssl_mnist", *arguments], env=env, **quiet))
        while None in (states := [process.poll() for process in processes]) and not any(states):
            time.sleep(0.1)
        failed = next((rank for rank, state in enumerate(states) if state), None)
        if failed is None:
            return 0
        _end(processes)
        said.seek(0)
        if failed and (lines := said.read().decode(errors="replace").strip().splitlines()):
            print(f"rank {failed}: {lines[-1]}", file=sys.stderr)
        status = processes[failed].returncode
        return 128 - status if status < 0 else status


@contextlib.contextmanager
def _passing_on(processes: list[subprocess.Popen]) -> Iterator[None]:
    """Pass signals on. Ctrl-C reaches all processes of a terminal by itself."""

    def forward(signum: int, frame: Any) -> None:
        if signum == signal.SIGINT and _in_terminal():
            return
        for process in processes:
            if process.poll() is None:
                process.send_signal(signum)

    before = {signum: signal.signal(signum, forward) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _in_terminal() -> bool:
    """Whether this process and those that it starts are what a terminal's Ctrl-C is for."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except (OSError, AttributeError):
        return False


def _end(processes: list[subprocess.Popen]) -> None:
    """Let the others notice that one is gone, which they do as soon as they wait for it; after that they are ended."""
    until = time.monotonic() + GRACE
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        time.sleep(0.1)
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def check(batch_size: int, ranks: Ranks) -> None:
    """Raises UserError where a batch cannot be shared out."""
    if batch_size % ranks.num:
        raise UserError(f"pretrain.batch_size={batch_size} cannot be shared out equally over {ranks.num} devices")
