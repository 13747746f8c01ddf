"""Long trainings and many jobs in one process: memory, open files and threads stay as they are after the first tenth."""

import contextlib
import ctypes
import gc
import os
import threading
from pathlib import Path

from conftest import TINY, experiment

from ssl_mnist import compose
from ssl_mnist.pipeline import run
from ssl_mnist.training.loop import pretrain


def memory():
    """Resident, in bytes, without what the allocator holds back for later."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def state():
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def test_three_hundred_epochs():
    built = experiment("pretrain.epochs=300", "pretrain.log_every=1000")
    after = {}
    for row in pretrain(built):
        if row["epoch"] in (30, 300):
            after[row["epoch"]] = (memory(), *state())
    assert after[300][0] <= 1.02 * after[30][0] and after[300][1:] == after[30][1:], after


def test_fifty_jobs(tmp_path):
    after = {}
    for seed in range(50):
        run(compose(*TINY, f"seed={seed}", "pretrain.epochs=1", "pretrain.batch_size=1000"), tmp_path / str(seed), tmp_path)
        after[seed] = (memory(), *state())
    assert after[49][0] <= 1.02 * after[5][0] and after[49][1:] == after[5][1:], after
