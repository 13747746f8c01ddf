"""How pretraining grows with the data: time an image and memory from 5,000 to 240,000 images (MNIST repeated).

    python benchmarks/growth.py [overrides, as on the command line]

Each size trains in a process of its own, in turns; the table holds medians over the rounds. `bytes a pixel: X` is the slope of the
peak memory between the two largest sizes. Needs the full MNIST.
"""

import resource
import statistics
import subprocess
import sys

SIZES, STEPS, ROUNDS = (5_000, 20_000, 60_000, 120_000, 240_000), 60, 5


def measure(size: int, overrides: list[str]) -> None:
    """Print microseconds an image and the peak memory in bytes."""
    import time
    from dataclasses import replace

    import torch
    from setup_ import checked_settings

    from ssl_mnist.build import build, make_dataset
    from ssl_mnist.data import Split
    from ssl_mnist.training.device import Device
    from ssl_mnist.training.loop import pretrain

    settings = checked_settings(*overrides, "data.fallback=error", "pretrain.epochs=1000", "pretrain.log_every=10")
    device = Device.choose("cpu", str(settings["precision"]))
    dataset = make_dataset(settings, device)
    digits = dataset.train.images
    images = torch.empty(size, *digits.shape[1:], dtype=torch.uint8)
    for part in images.split(len(digits)):
        part.copy_(digits[: len(part)])
    labels = torch.arange(size) % len(dataset.spec.classes)  # pretraining sees none
    dataset = replace(dataset, train=Split(images, labels))
    del digits
    experiment = build(settings, device, dataset)
    windows = pretrain(experiment)
    for metrics in windows:  # warm
        if metrics["step"] >= 9:
            break
    steps, started = metrics["step"], time.perf_counter()
    for metrics in windows:
        if metrics["step"] - steps >= STEPS:
            break
    seconds = (time.perf_counter() - started) / ((metrics["step"] - steps) * experiment.batch_size)
    print(1e6 * seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def main() -> None:
    rounds: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
    for _ in range(ROUNDS):
        for size, found in rounds.items():
            words = [sys.executable, __file__, "--measure", str(size), *sys.argv[1:]]
            time_of_one, peak = map(float, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
            found.append((time_of_one, peak))
    print(f"{'images':>8} {'microseconds an image':>22} {'lowest to highest':>18} {'peak memory, MiB':>17}")
    peaks = []
    for size, found in rounds.items():
        times, memory = zip(*found, strict=True)
        peaks.append(statistics.median(memory))
        spread = f"{min(times):.0f} to {max(times):.0f}"
        print(f"{size:>8,} {statistics.median(times):>22.1f} {spread:>18} {peaks[-1] / 2**20:>17.0f}")
    print(
        f"bytes a pixel: {(peaks[-1] - peaks[-2]) / ((SIZES[-1] - SIZES[-2]) * 28 * 28):.2f}  (from {SIZES[-2]:,} to {SIZES[-1]:,} images)"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(int(sys.argv[2]), sys.argv[3:])
    else:
        main()
