"""How many threads a run computes with on a CPU: at most one for each core that other processes leave free.

Each parallel operation ends in a barrier, about 190 times in a training step of `experiment=smoke`. If one of the threads shares its
core with another process, the barrier lasts until the scheduler lets that thread run again, some milliseconds later, while the others
spin. Beside one busy process on two cores, two threads are therefore several times slower than one (benchmarks/busy.py).

The load is measured while torch is imported, so that it costs no time: the command calls `snapshot` first, and `choose_threads`
reads the difference. Importing this file loads no torch.
"""

import functools
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from threadpoolctl import threadpool_limits

MIN_WINDOW = 0.3  # seconds; /proc/stat counts in hundredths of a second
TAKEN_FROM = 0.6  # a core counts as taken if other processes keep it busy for this share of the time

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")  # Linux only; other systems have neither
RUNS = {b"ssl_mnist", b"submitit.core._submit"}  # one of these stands in the command line of a run


class Threads(NamedTuple):
    num: int
    reason: str | None  # one line for the console; None if nothing limits the number


class _Usage(NamedTuple):
    """CPU time used until a moment, in seconds."""

    when: float
    cores: float  # by all processes, on the cores that this one may use
    own: float  # by this process and the children it has waited for


_begin: _Usage | None = None


def snapshot() -> None:
    """Start measuring the load of other processes. Only the first call in a process does anything."""
    global _begin
    _begin = _begin or _usage()


def choose_threads(setting: int | Literal["auto"]) -> Threads:
    """Choose torch's number of threads and set it. scikit-learn's libraries are not torch's: see `limit_scikit_learn`.

    auto: the minimum of torch's own default (physical cores, OMP_NUM_THREADS), the container's CPU quota, and the cores in this process's
    affinity mask minus those that other processes keep busy (Linux only). Chosen once per process, so that its runs repeat to the bit.
    """
    import torch

    default = _torch_default()
    threads = _auto(default) if setting == "auto" else Threads(setting, None)
    torch.set_num_threads(threads.num)
    return threads


def limit_scikit_learn() -> "threadpool_limits":
    """A context in which scikit-learn, numpy and scipy compute with as many threads as torch.

    They bring OpenMP and BLAS libraries of their own. On two cores that other processes kept busy, t-SNE of 500 points took 25 to 65 s with
    two threads, and 3 to 5 s with one.
    """
    import sklearn.cluster  # noqa: F401  # which loads the libraries
    import torch
    from threadpoolctl import threadpool_limits

    return threadpool_limits(torch.get_num_threads())


@functools.cache
def _torch_default() -> int:
    """Cached, because the first run sets another number."""
    import torch

    return torch.get_num_threads()


@functools.cache
def _auto(default: int) -> Threads:
    cores = len(_affinity())
    omp = os.environ.get("OMP_NUM_THREADS")
    limits = [(cores, ""), (default, f"OMP_NUM_THREADS={omp}" if omp else "")]
    if (quota := _quota()) is not None:
        limits.append((max(1, int(quota)), f"the CPU quota is {quota:.3g}"))
    busy = _busy_with_others()
    limits.append((max(1, cores - int(busy + 1 - TAKEN_FROM)), f"other processes keep {busy:.1f} busy"))
    starting = _runs_starting()
    limits.append((max(1, cores // (1 + starting)), f"{starting} other {'run is' if starting == 1 else 'runs are'} starting"))
    num, reason = min(limits, key=lambda limit: limit[0])  # the first of the smallest
    return Threads(num, f"{num} of {cores} cores: {reason}; threads={cores} overrides" if reason else None)


def _affinity() -> set[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _quota() -> float | None:
    """The CPU quota in cores, the smallest from this process's cgroup up to the root; None where there is none."""
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)  # version 2 names no controllers
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):  # inside a container the outer folders may not be visible
            folder = CGROUP.joinpath("cpu" if controllers else "", *parts[:depth])
            with suppress(OSError):
                if controllers:
                    quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
                else:
                    quota, period = (folder / "cpu.max").read_text().split()
                if quota not in ("max", "-1"):
                    quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _busy_with_others() -> float:
    """How many of our cores other processes have kept busy on average since `snapshot`."""
    snapshot()
    assert _begin is not None
    time.sleep(max(0.0, MIN_WINDOW - (time.monotonic() - _begin.when)))
    now = _usage()
    return max(0.0, (now.cores - _begin.cores - (now.own - _begin.own)) / (now.when - _begin.when))


def _usage() -> _Usage:
    ours, ticks = _affinity(), 0
    with suppress(OSError), (PROC / "stat").open() as lines:
        for line in lines:
            name, *numbers = line.split()
            if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in ours:
                user, nice, system, _idle, _iowait, irq, softirq = map(int, numbers[:7])
                ticks += user + nice + system + irq + softirq
    return _Usage(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0, sum(os.times()[:4]))


def _runs_starting() -> int:
    """How many other runs of this package started about when this one did: their load now is that of one thread, not of their training.

    Those are busy processes younger than twice this one's age; an older one was already training when `snapshot` was called.
    """
    count = 0
    with suppress(OSError):
        own_age, _ = _age_and_time("self")
        for folder in PROC.iterdir():
            if folder.name.isdigit() and int(folder.name) not in (os.getpid(), os.getppid()):
                with suppress(OSError):
                    if not RUNS & set((folder / "cmdline").read_bytes().split(b"\0")):
                        continue
                    age, cpu_time = _age_and_time(folder.name)
                    count += age < 2 * own_age and cpu_time > age / 4  # a launcher that waits for a run is not busy
    return count


def _age_and_time(pid: str) -> tuple[float, float]:
    """Seconds since a process started, and of CPU time that it has used."""
    numbers = (PROC / pid / "stat").read_text().rpartition(")")[2].split()  # what follows the name, which may hold blanks
    ticks = os.sysconf("SC_CLK_TCK")
    uptime = float((PROC / "uptime").read_text().split()[0])
    return uptime - int(numbers[19]) / ticks, (int(numbers[11]) + int(numbers[12])) / ticks
