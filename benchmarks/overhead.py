"""What the pipeline costs beside the model: its views per second over those of the bare model, side by side.

    python benchmarks/overhead.py [overrides, as on the command line]

The bare model does forward, backward and optimizer step on views that are already there, in the same precision. The pipeline is
the pretraining loop itself: shuffling, augmentation, schedule, logging. The sides take turns; `ratio: X` is the median over rounds.
"""

import statistics
import sys
import time

import torch
from hydra.utils import instantiate
from ssl_mnist.engine import Engine
from ssl_mnist.pretrain import pretrain

from ssl_mnist import compose, optim
from ssl_mnist.data import as_float

ROUNDS, STEPS = 9, 20

cfg = compose(*sys.argv[1:])
engine = Engine.choose(cfg.device, str(cfg.precision))
facts = {key: cfg.data.facts[key] for key in ("channels", "size", "mean", "std")}
augmentation = instantiate(cfg.augmentation, channels=facts["channels"])
batch_size = cfg.pretrain.batch_size
shape = (55_000, facts["channels"], facts["size"], facts["size"])
images = torch.randint(256, shape, dtype=torch.uint8, device=engine.device)


def now() -> float:
    if engine.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def build():
    method = instantiate(cfg.method, encoder=instantiate(cfg.encoder, **facts)).to(engine.device, memory_format=torch.channels_last)
    return method, *optim.build(instantiate(cfg.optimizer), method, num_steps=100_000, warmup_steps=100)


method, optimizer, schedule = build()
windows = pretrain(method, images, augmentation, optimizer, schedule, engine, 1000, batch_size, STEPS)
bare_method, bare_optimizer, _ = build()
batch = as_float(images[:batch_size])
views = tuple(augmentation(batch) for _ in range(method.num_views))


def bare(steps: int) -> None:
    for _ in range(steps):
        bare_optimizer.zero_grad()
        with engine.autocast():
            loss = bare_method(batch, views)["loss"]
        loss.backward()
        bare_optimizer.step()


next(windows), bare(5)  # warm
rates = []
for _ in range(ROUNDS):
    through_pipeline = next(windows)["pretrain/images_per_second"]
    started = now()
    bare(STEPS)
    rates.append((through_pipeline, STEPS * batch_size / (now() - started)))
whole, model_alone = (method.num_views * statistics.median(column) for column in zip(*rates, strict=True))
print(f"{cfg.choices.method}, {cfg.choices.augmentation}, batch {batch_size}, {engine}, {ROUNDS} rounds of {STEPS} steps")
print(f"pipeline {whole:,.0f} views/s, bare model {model_alone:,.0f} views/s")
print(f"ratio: {statistics.median(a / b for a, b in rates):.3f}")
