"""Images in a file: what a folder of images becomes that is larger than the memory or than `data.device_limit_gb`.

Rows are read by their position, not mapped: reading needs no address space for the whole file, and the system keeps the pages that
there is memory for.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor


class Stored:
    """Images (N, C, H, W) uint8 in a file, read when they are indexed; a part of the file is one too.

    It has what is used of a tensor of images: `shape`, `device`, `len`, `split`, and indices that are a slice or a tensor of positions.
    What is read lies on `device`.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int], device: torch.device, first: int = 0) -> None:
        """shape: of this part; first: the row of the file that it begins with."""
        self.path, self.shape, self.device, self.first = path, torch.Size(shape), device, first
        self._file = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def __len__(self) -> int:
        return self.shape[0]

    def part(self, start: int, end: int) -> "Stored":
        """Rows start..end as images of their own."""
        return Stored(self.path, (end - start, *self.shape[1:]), self.device, self.first + start)

    def split(self, num: int) -> Iterator[Tensor]:
        """The images in order, `num` at a time."""
        for start in range(0, len(self), num):
            yield self[start : start + num]

    def __getitem__(self, rows: "slice | Tensor") -> Tensor:
        if isinstance(rows, slice):
            start, end, step = rows.indices(len(self))
            assert step == 1
            return self._read([(start, end)], end - start)
        return self._read([(row, row + 1) for row in rows.tolist()], len(rows))

    def _read(self, parts: list[tuple[int, int]], num: int) -> Tensor:
        size = self.shape[1:].numel()
        images = torch.empty((num, *self.shape[1:]), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        flat, at = memoryview(images.view(-1).numpy()), 0  # type: ignore[arg-type]
        for start, end in parts:
            todo = flat[at : at + (end - start) * size]
            offset = (self.first + start) * size
            at += len(todo)
            while len(todo):  # a read of more than 2 GB comes in parts
                read = os.preadv(self._file, [todo], offset)
                if not read:
                    raise OSError(5, "the file of decoded images was cut short", str(self.path))
                todo, offset = todo[read:], offset + read
        return images.to(self.device, non_blocking=True)


Images = Tensor | Stored
CHUNK = 2**25  # bytes of uint8 images that are taken at a time, where any number will do: 32 MiB, as floats 128


def chunks(images: Images, most: int) -> Iterator[Tensor]:
    """Images (N, C, H, W) in order, at most `most` at a time, and of large ones fewer."""
    yield from images.split(max(1, min(most, CHUNK // images.shape[1:].numel())))


def batches(images: Images, order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Full batches of images in an order (N,), the incomplete last one left out; those in a file are read one batch ahead."""
    parts = [order[start : start + batch_size] for start in range(0, len(order) - batch_size + 1, batch_size)]
    if isinstance(images, Tensor):
        for part in parts:
            yield images[part]
        return
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(images.__getitem__, parts[0])
        for part in parts[1:]:
            batch, ahead = ahead.result(), reader.submit(images.__getitem__, part)
            yield batch
        yield ahead.result()
