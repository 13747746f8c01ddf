"""What the augmentation costs: its time over that of the bare training step (forward, backward, optimizer), side by side.

    python benchmarks/augmentation.py [overrides, as on the command line]

Prints `ratio: X`, of medians over 30 steps that do both, on random images; the default set is to stay under 0.1.
"""

import statistics
import sys

import torch
from setup_ import bare_step, checked_settings, noise, now

from ssl_mnist.build import build
from ssl_mnist.data import as_float
from ssl_mnist.training.device import Device

STEPS, WARM = 30, 5

settings = checked_settings(*sys.argv[1:])
device = Device.choose(settings["device"], str(settings["precision"]))
batch_size = settings["pretrain"]["batch_size"]
experiment = build(settings, device, noise(settings, max(batch_size, 1000), device))
images = as_float(experiment.dataset.train.images[:batch_size])
method = experiment.method.train()

augmenting, stepping = [], []
for step in range(WARM + STEPS):
    started = now(device)
    with torch.no_grad():
        views = tuple(experiment.augmentation(images) for _ in range(method.num_views))
    middle = now(device)
    bare_step(experiment, images, views)
    if step >= WARM:
        augmenting.append(middle - started)
        stepping.append(now(device) - middle)

augment, bare = statistics.median(augmenting), statistics.median(stepping)
num_views, choices = method.num_views * batch_size, settings["choices"]
print(f"{choices['method']}, {choices['augmentation']}, {num_views} views a step, {device}")
print(f"augmentation {1e3 * augment:.1f} ms ({num_views / augment:,.0f} views/s), bare step {1e3 * bare:.1f} ms")
print(f"ratio: {augment / bare:.3f}")
