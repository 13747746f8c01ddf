"""What another busy process costs: a run beside it against the same run alone, and the automatic thread count against all cores.

    python benchmarks/busy.py [overrides, as on the command line]

Each run is a process of its own on the packaged digits, timed from start to end, in turns. Prints `alone: X`, the time with
`threads=auto` over that with all cores on a quiet machine (1 is no cost), and `busy: X`, the time beside a process that keeps one core busy
over the time alone; both with `threads=auto`, medians of three. `all_cores_busy: X` is what `busy` would be without the choice (one run).
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 3


def seconds(*words: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ssl_mnist", "experiment=smoke", "evaluation=quick", "tracking.mode=disabled"]
        started = time.perf_counter()
        subprocess.run([*command, f"hydra.run.dir={folder}/run", *words, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started


def beside_a_busy_process(*words: str) -> float:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        return seconds(*words)
    finally:
        busy.kill()
        busy.wait()


cores = f"threads={len(os.sched_getaffinity(0))}"
seconds()  # warm the disk's cache
rounds = [(seconds(), seconds(cores), beside_a_busy_process()) for _ in range(ROUNDS)]
auto, fixed, beside = (statistics.median(column) for column in zip(*rounds, strict=True))
print(f"alone, auto {auto:.1f} s; alone, {cores} {fixed:.1f} s; beside one busy process, auto {beside:.1f} s (medians of {ROUNDS})")
print(f"alone: {auto / fixed:.3f}")
print(f"busy: {beside / auto:.2f}")
print(f"all_cores_busy: {beside_a_busy_process(cores) / auto:.2f}")
