"""What checkpoints cost a run: the seconds that one takes, over the seconds of training between two of them.

    python benchmarks/checkpoint.py [overrides, as on the command line]

Between the saves the training loop runs on random images, so that caches and disk are in the state that a run finds them in. Printed are
the median and the largest of 15 saves, their size, and `ratio`: the median over checkpoint.every_seconds; below 0.02 is the goal. A run
that is shorter saves once, at its end.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from setup_ import checked_settings, noise

from ssl_mnist.build import build
from ssl_mnist.training.device import Device
from ssl_mnist.training.loop import steps
from ssl_mnist.training.state import Checkpoints, Progress

SAVES, STEPS = 15, 10

settings = checked_settings(*sys.argv[1:], "pretrain.epochs=1000")
device = Device.choose(settings["device"], str(settings["precision"]))
experiment, progress = build(settings, device, noise(settings, 10_000, device)), Progress()
seconds: list[float] = []
with tempfile.TemporaryDirectory(dir=".") as folder:
    checkpoints = Checkpoints(Path(folder), "0" * 16, 0.0)
    for _ in steps(experiment, progress):
        if progress.step % STEPS == 0:
            started = time.perf_counter()
            checkpoints.save(experiment, progress, metrics=b"", seconds=0.0)
            seconds.append(time.perf_counter() - started)
        if len(seconds) == SAVES:
            break
    size = max(path.stat().st_size for path in Path(folder).iterdir())
every = settings["checkpoint"]["every_seconds"]
print(f"{settings['choices']['method']}, encoder {settings['choices']['encoder']}, {device}: {size / 1e6:.1f} MB a checkpoint")
print(f"save {1e3 * statistics.median(seconds):.0f} ms, at most {1e3 * max(seconds):.0f} ms, every {every:.0f} s")
print(f"ratio: {statistics.median(seconds) / every:.4f}")
