"""Images of a folder decoded a second: `data=image_folder` against a bare loop of Pillow on all cores, side by side.

    python benchmarks/decoding.py FOLDER [size]

The bare loop opens each file, converts it to RGB and makes an array of it, in one process for each core, and keeps nothing. Ours decodes
into a new cache. The sides take turns. `ratio: X` is the median over rounds of the bare loop's time over that of our decoding, processes'
start and writing included; `start`: seconds of the whole first start, with listing, split, mean and standard deviation, and fingerprint;
`again`: those of the second start, which finds the cache.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from setup_ import checked_settings

from ssl_mnist.build import make_dataset
from ssl_mnist.data import folder as folders
from ssl_mnist.data.folder import SUFFIXES
from ssl_mnist.training.device import Device

ROUNDS = 5
BARE = """
import sys
import numpy as np
from PIL import Image
for path in sys.stdin.read().splitlines():
    with Image.open(path) as image:
        np.asarray(image.convert("RGB"))
"""


def bare(files: list[str]) -> None:
    num = len(os.sched_getaffinity(0))
    workers = [subprocess.Popen([sys.executable, "-c", BARE], stdin=subprocess.PIPE, text=True) for _ in range(num)]
    for first, worker in enumerate(workers):
        assert worker.stdin
        worker.stdin.write("\n".join(files[first::num]))
        worker.stdin.close()
    if any([worker.wait() for worker in workers]):
        sys.exit("the bare loop cannot read a file of this folder")


def ours(folder: str, size: str, cache: str) -> int:
    settings = checked_settings("data=image_folder", f"data.root={folder}", f"data.size={size}", f"data.cache={cache}")
    dataset = make_dataset(settings, Device.choose("cpu", "32"))
    return len(dataset.train) + len(dataset.val) + len(dataset.read_test())


def seconds(function, *arguments) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


decoding: list[float] = []
run_workers = folders._run_workers


def timed(*arguments):
    started = time.perf_counter()
    problems = run_workers(*arguments)
    decoding.append(time.perf_counter() - started)
    return problems


folders._run_workers = timed


def main() -> None:
    folder, size = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "32"
    files = [str(path) for path in sorted(Path(folder).rglob("*")) if path.suffix.lower() in SUFFIXES]
    torch.zeros(1).add(1)
    rounds, again = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as cache:
            rounds.append((seconds(bare, files), seconds(ours, folder, size, cache)))
            again.append(seconds(ours, folder, size, cache))
    bare_loop, whole = zip(*rounds, strict=True)
    print(
        f"{len(files):,} files: bare loop {statistics.median(bare_loop):.2f} s, ours {statistics.median(decoding):.2f} s, {ROUNDS} rounds"
    )
    print(f"start: {statistics.median(whole):.2f} s")
    print(f"again: {statistics.median(again):.2f} s")
    print(f"ratio: {statistics.median(a / b for a, b in zip(bare_loop, decoding, strict=True)):.2f}")


if __name__ == "__main__":
    main()
