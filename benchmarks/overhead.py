"""What the pipeline costs beside the model: its views per second over those of the bare model, side by side.

    python benchmarks/overhead.py [overrides, as on the command line]

The bare model does forward, backward and optimizer step on views that are already there, in the same precision. The pipeline is
the pretraining loop itself: shuffling, augmentation, schedule, logging. The sides take turns; `ratio: X` is the median over rounds.
"""

import statistics
import sys

import torch
from setup_ import bare_step, checked_settings, noise, now

from ssl_mnist.build import build
from ssl_mnist.data import as_float
from ssl_mnist.training.device import Device
from ssl_mnist.training.loop import pretrain

ROUNDS, STEPS = 9, 20

settings = checked_settings(*sys.argv[1:], "pretrain.epochs=1000", f"pretrain.log_every={STEPS}")
device = Device.choose(settings["device"], str(settings["precision"]))
dataset = noise(settings, 55_000, device)
pipeline, model = build(settings, device, dataset), build(settings, device, dataset)
batch_size, num_views = pipeline.batch_size, pipeline.method.num_views
batch = as_float(dataset.train.images[:batch_size])
with torch.no_grad():
    views = tuple(model.augmentation(batch) for _ in range(num_views))
model.method.train()


def bare(steps: int) -> None:
    for _ in range(steps):
        bare_step(model, batch, views)


windows = pretrain(pipeline)
next(windows), bare(5)  # warm
rates = []
for _ in range(ROUNDS):
    through_pipeline = next(windows)["pretrain/images_per_second"]
    started = now(device)
    bare(STEPS)
    rates.append((through_pipeline, STEPS * batch_size / (now(device) - started)))
whole, model_alone = (num_views * statistics.median(column) for column in zip(*rates, strict=True))
choices = settings["choices"]
print(f"{choices['method']}, {choices['augmentation']}, batch {batch_size}, {device}, {ROUNDS} rounds of {STEPS} steps")
print(f"pipeline {whole:,.0f} views/s, bare model {model_alone:,.0f} views/s")
print(f"ratio: {statistics.median(a / b for a, b in rates):.3f}")
