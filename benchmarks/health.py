"""What health costs a run: the seconds that it takes at an epoch's end, over those of the epoch.

    python benchmarks/health.py [overrides, as on the command line]

Between the measurements the training loop runs, so that caches are in the state that a run finds them in. Images are random, as many as
in the settings' data set of 55,000; an epoch's seconds are those of its steps, by the median of 100. Printed are the median and the
largest of 9 measurements and `ratio`: the median over an epoch of training; below 0.03 is the goal for the default run.
"""

import dataclasses
import statistics
import sys

import torch
from setup_ import checked_settings, noise, now

from ssl_mnist.build import build
from ssl_mnist.data import Split
from ssl_mnist.evaluate.health import Health
from ssl_mnist.training.device import Device
from ssl_mnist.training.loop import steps
from ssl_mnist.training.state import Progress

MEASURED, STEPS, IMAGES = 9, 12, 55_000

settings = checked_settings(*sys.argv[1:], "pretrain.epochs=1000")
device = Device.choose(settings["device"], str(settings["precision"]))
dataset = noise(settings, IMAGES, device)
num = settings["health"]["num_images"]
val = Split(dataset.train.images[:num], torch.arange(num, device=device.device) % 10)
experiment, progress = build(settings, device, dataclasses.replace(dataset, val=val)), Progress()
health = Health(experiment, **settings["health"])
measured: list[float] = []
stepping: list[float] = []
since = now(device)
for _ in steps(experiment, progress):
    stepping.append(now(device) - since)
    if progress.step % STEPS == 0:
        since = now(device)
        health.measure(progress.step)
        measured.append(now(device) - since)
    if len(measured) == MEASURED:
        break
    since = now(device)
epoch = statistics.median(stepping) * (IMAGES // experiment.batch_size)
print(f"{settings['choices']['method']}, encoder {settings['choices']['encoder']}, {device}: {epoch:.1f} s an epoch of {IMAGES:,} images")
print(f"health {statistics.median(measured):.2f} s, at most {max(measured):.2f} s, on {num:,} images and {len(health.paired):,} pairs")
print(f"ratio: {statistics.median(measured) / epoch:.4f}")
