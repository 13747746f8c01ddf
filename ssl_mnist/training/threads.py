"""How many threads a run computes with: the cores that the process may use, less those that other processes keep busy.

Two threads on two cores meet at a barrier several thousand times a second. Where another process holds one of the cores, each meeting
waits until the scheduler lets the second thread run, and a step takes 5 to 17 times as long; a single thread hardly slows. So a core that
is taken is left alone. The count is chosen once a process, before the first step, since a seed repeats a run to the bit only with the
same number of threads.
"""

import math
import os
import time
from pathlib import Path
from typing import NamedTuple

WINDOW = 0.3  # seconds, at least, over which the load of others is measured
TAKEN = 0.6  # of a core, from which on it counts as taken; a lone busy process reads 0.8 to 1.0, an idle machine below 0.3


class Threads(NamedTuple):
    num: int
    reason: str | None  # to say, where these are not simply all cores


class _Moment(NamedTuple):
    wall: float  # seconds
    busy: float  # seconds of CPU time that all processes took so far on the cores this process may use
    own: float  # that this process and its children took


_begun: _Moment | None = None
_chosen: Threads | None = None


def snapshot() -> None:
    """Remember the load now; the command calls it first, so that the imports serve as the time to measure in."""
    global _begun
    _begun = _now()


def choose_threads(setting: int | str) -> Threads:
    """Choose and set torch's thread count. setting: a number, or "auto", which is decided once a process."""
    import torch

    global _chosen
    if setting != "auto":
        torch.set_num_threads(int(setting))
        return Threads(int(setting), None)
    if _chosen is None:
        _chosen = _choose(available_cores(), _taken_by_others())
    torch.set_num_threads(_chosen.num)
    return _chosen


def _choose(cores: int, taken: float) -> Threads:
    """cores: that this process may use; taken: how many of them others keep busy, a fraction counting from TAKEN on."""
    free = max(1, cores - math.floor(taken + 1 - TAKEN))
    if free == cores:
        return Threads(cores, None)
    why = f"{free} of {cores}: other processes keep {taken:.1f} cores busy, and threads that wait for a core are slow (threads=N overrides)"
    return Threads(free, why)


def available_cores() -> int:
    """The cores that this process may use, by its affinity, its cgroup's quota and OMP_NUM_THREADS; not those of the host."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    limits = [affinity, _quota(Path("/sys/fs/cgroup")), int(wanted) if wanted.isdecimal() and int(wanted) else affinity]
    return max(1, math.floor(min(limits)))


def _quota(root: Path) -> float:
    """The cgroup's CPU quota in cores, version 2 or 1; infinite where there is none."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            return math.inf
    return int(quota) / int(period) if quota.isdecimal() and int(period) else math.inf


def _taken_by_others() -> float:
    """How many of this process's cores other processes kept busy since `snapshot`, or over the next moment."""
    first = _begun or _now()
    if first is None:
        return 0.0
    if (missing := WINDOW - (time.monotonic() - first.wall)) > 0:
        time.sleep(missing)
    last = _now()
    if last is None:
        return 0.0
    return max(0.0, (last.busy - first.busy) - (last.own - first.own)) / (last.wall - first.wall)


def _now(stat: Path = Path("/proc/stat")) -> _Moment | None:
    """None where the system does not tell, which is everywhere but on Linux."""
    try:
        lines = stat.read_text().splitlines()
        mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return None
    busy = 0.0
    for line in lines:
        name, *ticks = line.split()
        if name in mine:
            user, nice, system, _idle, _iowait, irq, softirq = map(int, ticks[:7])
            busy += user + nice + system + irq + softirq
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return _Moment(time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), own)
