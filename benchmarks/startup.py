"""Seconds from the command to `--help`'s end, and to the first training step of the default run.

    python benchmarks/startup.py

Prints `seconds: X` of the first step and `help: X`, medians of five.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 5
COMMAND = [sys.executable, "-m", "ssl_mnist"]


def help_text() -> float:
    started = time.perf_counter()
    subprocess.run([*COMMAND, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def first_step() -> float:
    """Until the first line of metrics.jsonl is there."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder) / "run" / "metrics.jsonl"
        started = time.perf_counter()
        words = ["pretrain.log_every=1", f"hydra.run.dir={folder}/run", "tracking.mode=offline"]
        process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (metrics.is_file() and metrics.stat().st_size):
            time.sleep(0.01)
        seconds = time.perf_counter() - started
        if process.poll() is not None:
            sys.exit("the run ended before its first step")
        process.kill()
        process.wait()
    return seconds


print(f"help: {statistics.median(help_text() for _ in range(REPEATS)):.2f}")
print(f"seconds: {statistics.median(first_step() for _ in range(REPEATS)):.2f}")
