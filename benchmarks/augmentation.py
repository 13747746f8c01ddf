"""What the augmentation costs: its time over that of the bare training step (forward, backward, optimizer), side by side.

    python benchmarks/augmentation.py [overrides, as on the command line]

Prints `ratio: X`, of medians over 30 steps that do both, on random images; the default set is to stay under 0.1. Then the time of each op
by itself, for one view of each image; neighbouring geometric ops share their interpolation, so that together they take less.

Photographs, whatever the data (one line):

    OMP_NUM_THREADS=1 python benchmarks/augmentation.py augmentation=natural data.spec.channels=3 data.spec.height=32
        data.spec.width=32 data.spec.mean=[0.5,0.5,0.5] data.spec.std=[0.2,0.2,0.2]

`natural` is to take less than 25 ms for 256 images of 32 x 32 in colour on one thread of a CPU.
"""

import statistics
import sys

import torch
from setup_ import bare_step, checked_settings, noise, now

from ssl_mnist.augment import Augmentation
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

print(f"one view of {batch_size} images of {' x '.join(map(str, images.shape[1:]))}, in ms:")
alone = {
    name: Augmentation(experiment.spec, None, experiment.augmentation.padding, **{name: op})
    for name, op in experiment.augmentation.ops.items()
}
for name, augmentation in {**alone, "all together": experiment.augmentation}.items():
    times = []
    for step in range(WARM + STEPS):
        started = now(device)
        with torch.no_grad():
            augmentation(images)
        if step >= WARM:
            times.append(now(device) - started)
    print(f"  {name}: {1e3 * statistics.median(times):.1f}")
