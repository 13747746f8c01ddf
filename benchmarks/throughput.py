"""SimCLR views per second through the whole training step: our pretraining loop against the standard pipeline (standard.py).

    python benchmarks/throughput.py [overrides, as on the command line]

Both sides have the same encoder, projector, batch size and loss, and each the thread and worker counts that serve it best. The
sides take turns; printed are medians over the rounds. `ratio`: ours in the precision it would choose here, the standard loop as
it is written, in float32. `ratio_fp32`: both in float32. Needs the full MNIST.
"""

import os
import statistics
import sys

import torch
from hydra.utils import instantiate
from ssl_mnist.engine import Engine
from ssl_mnist.pretrain import pretrain
from standard import STEPS, fastest, settings, views_per_second

from ssl_mnist import compose, data, optim

ROUNDS = 9

cfg = compose(*sys.argv[1:])
facts = {key: cfg.data.facts[key] for key in ("channels", "size", "mean", "std")}
root = data.mnist_folder(cfg.data.root)
dataset = data.mnist(str(root), "error", cfg.data.num_val, torch.device("cpu"))
batch_size = cfg.pretrain.batch_size


def ours(precision: str, threads: int) -> float:
    """Views per second of one window of `pretrain`, the first one left out."""
    torch.set_num_threads(threads)
    engine = Engine.choose("cpu", precision)
    augmentation = instantiate(cfg.augmentation, channels=facts["channels"])
    method = instantiate(cfg.method, encoder=instantiate(cfg.encoder, **facts)).to(memory_format=torch.channels_last)
    optimizer, schedule = optim.build(instantiate(cfg.optimizer), method, 1000, 100)
    windows = pretrain(method, dataset.train.images, augmentation, optimizer, schedule, engine, 1, batch_size, STEPS)
    next(windows)
    return 2 * next(windows)["pretrain/images_per_second"]


def theirs(workers: int, threads: int) -> float:
    encoder = instantiate(cfg.encoder, **facts)
    return views_per_second(encoder, cfg.method, root, list(range(len(dataset.train))), batch_size, workers, threads)


def main() -> None:
    assert cfg.choices.method == "simclr", "this benchmark is of SimCLR"
    threads = sorted({1, os.cpu_count() or 1})
    auto = str(Engine.choose("cpu", str(cfg.precision)))
    best_standard = fastest(settings(), theirs)
    best_ours = {precision: fastest([(precision, n) for n in threads], ours)[1] for precision in (str(cfg.precision), "32")}
    rounds = [(theirs(*best_standard), *(ours(p, n) for p, n in best_ours.items())) for _ in range(ROUNDS)]
    slow, mixed, full = (statistics.median(column) for column in zip(*rounds, strict=True))
    workers, torch_threads = best_standard
    mixed_threads = best_ours[str(cfg.precision)]
    print(f"encoder {cfg.choices.encoder} {list(cfg.encoder.widths)}, batch {batch_size}, medians of {ROUNDS} rounds of {STEPS} steps")
    print(f"standard: {slow:,.0f} views/s, float32, {workers} workers, {torch_threads} threads, the fastest of {len(settings())} settings")
    print(f"ours: {mixed:,.0f} views/s, {auto.split(', ')[1]}, {mixed_threads} threads, augmentation {cfg.choices.augmentation}")
    print(f"ours: {full:,.0f} views/s, float32, {best_ours['32']} threads")
    for name, column in {"ratio": 1, "ratio_fp32": 2}.items():
        ratios = sorted(row[column] / row[0] for row in rounds)
        print(f"{name}: {statistics.median(ratios):.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
