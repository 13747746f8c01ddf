"""Size and speed of every encoder: parameters, multiply-accumulates of one image, and images per second on the CPU.

    python benchmarks/encoders.py [names of encoders]

For images of 28 x 28 x 1 and of 32 x 32 x 3, in float32, batch 64. Printed are medians over at least 3 turns and up to 9 within 5 s, of
the forward pass in eval mode without gradients and of forward and backward in training.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from hydra.utils import instantiate
from setup_ import checked_settings
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ssl_mnist.config import CONFIG_DIR
from ssl_mnist.data import ImageSpec, as_float
from ssl_mnist.encoders import Encoder
from ssl_mnist.training.device import Device

BATCH = 64
SHAPES = ((28, 28, 1), (32, 32, 3))  # H, W, C
CPU = Device.choose("cpu", "32")


def build(name: str, shape: tuple[int, int, int]) -> Encoder:
    height, width, channels = shape
    spec = ImageSpec(channels, height, width, mean=[0.5] * channels, std=[0.25] * channels, classes=["0", "1"], label_changing=[])
    encoder: Encoder = instantiate(checked_settings(f"encoder={name}")["encoder"], _convert_="all", _partial_=True)(spec=spec)
    CPU.place(encoder)
    return encoder


def macs(encoder: Encoder, image: torch.Tensor) -> int:
    """Of convolutions, linear layers and attention; of one image."""
    encoder.eval()
    # Attention is counted where it is written out, and with gradients, without which torch takes a fused layer that is not.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encoder(image)
    return int(counter.get_total_flops()) // 2


def images_per_second(turn: Callable[[], object]) -> float:
    turn()  # warm-up
    seconds: list[float] = []
    while len(seconds) < 3 or (len(seconds) < 9 and sum(seconds) < 5):
        started = time.perf_counter()
        turn()
        seconds.append(time.perf_counter() - started)
    return BATCH / statistics.median(seconds)


def row(name: str, shape: tuple[int, int, int]) -> str:
    torch.manual_seed(0)
    encoder = build(name, shape)
    height, width, channels = shape
    images = as_float(torch.randint(256, (BATCH, channels, height, width), dtype=torch.uint8))

    def forward() -> None:
        with torch.no_grad():
            encoder(images)

    def both() -> None:
        encoder.zero_grad()
        encoder(images).square().mean().backward()

    parameters, work = sum(p.numel() for p in encoder.parameters()), macs(encoder, images[:1])
    eval_speed = images_per_second(forward)
    encoder.train()
    train_speed = images_per_second(both)
    size = f"{height} x {width} x {channels}"
    numbers = f"{parameters / 1e6:8.2f} {work / 1e6:9.1f} {eval_speed:10,.0f} {train_speed:14,.0f}"
    return f"{name:10} {size:12} {encoder.dim:5} {numbers}"


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in (CONFIG_DIR / "encoder").glob("*.yaml"))
    print(f"batch {BATCH}, {torch.get_num_threads()} threads, float32; parameters and MACs in millions, speeds in images/s")
    print(f"{'encoder':10} {'images':12} {'dim':>5} {'params':>8} {'MACs':>9} {'forward':>10} {'with backward':>14}")
    for shape in SHAPES:
        for name in names:
            print(row(name, shape), flush=True)


if __name__ == "__main__":
    main()
