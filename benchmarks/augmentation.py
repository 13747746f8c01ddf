"""What the augmentation costs: its time over that of the bare training step (forward, backward, optimizer), side by side.

    python benchmarks/augmentation.py [overrides, as on the command line]

Prints `ratio: X`, of medians over 30 steps that do both, on random images; the default set is to stay under 0.1.
"""

import statistics
import sys
import time

import torch
from hydra.utils import instantiate
from ssl_mnist.engine import Engine

from ssl_mnist import compose, optim
from ssl_mnist.data import as_float

cfg = compose(*sys.argv[1:])
engine = Engine.choose(cfg.device, str(cfg.precision))
facts = {key: cfg.data.facts[key] for key in ("channels", "size", "mean", "std")}
augmentation = instantiate(cfg.augmentation, channels=facts["channels"])
method = instantiate(cfg.method, encoder=instantiate(cfg.encoder, **facts)).to(engine.device, memory_format=torch.channels_last)
optimizer, _ = optim.build(instantiate(cfg.optimizer), method, num_steps=1000, warmup_steps=100)
shape = (cfg.pretrain.batch_size, facts["channels"], facts["size"], facts["size"])
images = as_float(torch.randint(256, shape, dtype=torch.uint8, device=engine.device))


def now() -> float:
    if engine.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


augmenting, stepping = [], []
for step in range(35):
    started = now()
    with torch.no_grad():
        views = tuple(augmentation(images) for _ in range(method.num_views))
    middle = now()
    optimizer.zero_grad()
    with engine.autocast():
        loss = method(images, views)["loss"]
    loss.backward()
    optimizer.step()
    if step >= 5:  # warm
        augmenting.append(middle - started)
        stepping.append(now() - middle)

augment, bare = statistics.median(augmenting), statistics.median(stepping)
num_views = method.num_views * len(images)
print(f"{cfg.choices.method}, {cfg.choices.augmentation}, {num_views} views a step, {engine}")
print(f"augmentation {1e3 * augment:.1f} ms ({num_views / augment:,.0f} views/s), bare step {1e3 * bare:.1f} ms")
print(f"ratio: {augment / bare:.3f}")
