"""SimCLR views per second through the whole training step: our pretraining loop against the standard pipeline (standard.py).

    python benchmarks/throughput.py [overrides, as on the command line]

Both sides have the same encoder, projector, batch size and loss, and each the thread and worker counts that serve it best. The
sides take turns; printed are medians over the rounds. `ratio`: ours in the precision it would choose here, the standard loop as
it is written, in float32. `ratio_fp32`: both in float32. Needs the data set: the full MNIST, or the one that `data` names.
"""

import os
import statistics
import sys
import time

import torch
from setup_ import checked_settings
from standard import MIN_STEPS, SECONDS, STEPS, WARM, candidates, fastest, views_per_second

from ssl_mnist.build import build, make_dataset
from ssl_mnist.training.device import Device
from ssl_mnist.training.loop import steps
from ssl_mnist.training.state import Progress

ROUNDS, MIN_ROUNDS, MINUTES = 9, 5, 5  # rounds that begin: the first five always, further ones within five minutes

settings = checked_settings(*sys.argv[1:])
if "fallback" in settings["data"]:
    settings["data"]["fallback"] = "error"
precision, choices = str(settings["precision"]), settings["choices"]
dataset = make_dataset(settings, Device.choose("cpu", precision))


def ours(precision: str, threads: int) -> float:
    """Views per second, the first steps left out."""
    torch.set_num_threads(threads)
    experiment, progress = build(settings, Device.choose("cpu", precision), dataset), Progress()
    started = 0.0
    for _ in steps(experiment, progress):
        if progress.step == WARM:
            started = time.perf_counter()
        done, seconds = progress.step - WARM, time.perf_counter() - started
        if done == STEPS or (done >= MIN_STEPS and seconds > SECONDS):
            return done * 2 * experiment.batch_size / seconds
    raise AssertionError("an epoch is shorter than a measurement")


def theirs(workers: int, threads: int) -> float:
    return views_per_second(settings, dataset, workers, threads)


def main() -> None:
    assert choices["method"] == "simclr", "this benchmark is of SimCLR"
    threads = sorted({1, os.cpu_count() or 1})
    best_standard = fastest(candidates(), theirs)
    best_ours = [fastest([(each, n) for n in threads], ours) for each in (precision, "32")]
    rounds: list[tuple[float, ...]] = []
    started = time.perf_counter()
    while len(rounds) < MIN_ROUNDS or (len(rounds) < ROUNDS and time.perf_counter() - started < 60 * MINUTES):
        rounds.append((theirs(*best_standard), *(ours(*best) for best in best_ours)))
    slow, mixed, full = (statistics.median(column) for column in zip(*rounds, strict=True))
    (workers, torch_threads), (mixed_threads, full_threads) = best_standard, (n for _, n in best_ours)
    chosen, num_settings = Device.choose("cpu", precision).precision, len(candidates())
    encoder = ", ".join([choices["encoder"], *(f"{key} {value}" for key, value in settings["encoder"].items() if key != "_target_")])
    print(f"{choices['data']}, encoder {encoder}, batch {settings['pretrain']['batch_size']}")
    print(f"medians of {len(rounds)} rounds of {STEPS} steps or {SECONDS} s")
    print(f"standard: {slow:,.0f} views/s, float32, {workers} workers, {torch_threads} threads, the fastest of {num_settings} settings")
    print(f"ours: {mixed:,.0f} views/s, precision {chosen}, {mixed_threads} threads, augmentation {choices['augmentation']}")
    print(f"ours: {full:,.0f} views/s, float32, {full_threads} threads")
    for name, column in {"ratio": 1, "ratio_fp32": 2}.items():
        ratios = sorted(row[column] / row[0] for row in rounds)
        print(f"{name}: {statistics.median(ratios):.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
