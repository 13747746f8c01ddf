"""What another busy process on the same cores costs a run whose number of threads is chosen automatically (threads=auto).

    python benchmarks/busy.py [overrides, as on the command line]

Prints `alone: X`, seconds with threads=auto over seconds with a thread for each core, and `busy: X`, seconds with threads=auto beside
a busy loop over seconds with threads=auto alone; both are medians over rounds, in which the sides take turns. A run is a whole
command with one epoch of `experiment=smoke`. Nothing else may run: each round prints how many cores were busy before it.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 5
RUN = ["experiment=smoke", "pretrain.epochs=1", "evaluation.num_points=50", "tracking.mode=disabled"]
ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds(threads: str | int, busy: bool = False) -> float:
    """Wall-clock time of a run."""
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "ssl_mnist", *RUN, f"hydra.run.dir={folder}/run", f"threads={threads}", *sys.argv[1:]]
            started = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            return time.perf_counter() - started
    finally:
        if loop:
            loop.kill()
            loop.wait()


def load() -> float:
    """Cores that are busy during one second."""
    snapshots = []
    for pause in (1, 0):
        with open("/proc/stat") as lines:
            snapshots.append([int(number) for number in lines.readline().split()[1:8]])
        time.sleep(pause)
    user, nice, system, _idle, _iowait, irq, softirq = (after - before for before, after in zip(*snapshots, strict=True))
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


print(f"seconds with threads=auto, with {ALL} threads, with threads=auto beside a busy loop; cores busy before", flush=True)
seconds("auto")  # files into memory
ratios = []
for _ in range(ROUNDS):
    before = load()
    auto, fixed, beside = seconds("auto"), seconds(ALL), seconds("auto", busy=True)
    ratios.append((auto / fixed, beside / auto))
    print(f"{auto:.1f}, {fixed:.1f}, {beside:.1f}; {before:.1f}", flush=True)
alone, busy = (statistics.median(column) for column in zip(*ratios, strict=True))
print(f"alone: {alone:.2f}")
print(f"busy: {busy:.2f}")
