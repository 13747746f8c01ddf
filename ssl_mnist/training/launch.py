"""Start the command as several processes that train one model (`devices=N`). Importing this file loads no torch."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ssl_mnist.training.stops import SIGNALS

GRACE = 50  # seconds in which the others end by themselves once one has died


def in_job() -> bool:
    """Whether torchrun, or `start`, started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


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
