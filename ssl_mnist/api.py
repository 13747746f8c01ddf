"""The library: what the command does, from Python.

    result = ssl_mnist.run("method=rotation", "experiment=smoke")
    embeddings = ssl_mnist.embed(result.encoder, images)

A caller's process stays as it was: torch's random numbers, threads and precision, signal handlers, logging, an open W&B run.
"""

import contextlib
import copy
import html
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ssl_mnist import config, pipeline
from ssl_mnist.build import make_dataset
from ssl_mnist.checkpoint import encoder_hash, load_encoder
from ssl_mnist.console import score_table
from ssl_mnist.data.convert import float_batches
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.evaluate.features import extract
from ssl_mnist.evaluate.kept import Kept, features_key, identity_of
from ssl_mnist.files import PREDICTIONS, RUN, SUMMARY, read_json
from ssl_mnist.training.device import Device

_training = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A figure as PNG; a notebook shows it."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"<PNG of {len(self.png):,} bytes>"


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What came of a run. Printed, it is the table of its scores.

    summary: what summary.json holds, such as summary["test/linear_accuracy"]; encoder: frozen, in eval mode, on the CPU; figures: by
    name, such as figures["tsne"]; split: "test", or "val" where test was not read (evaluation.test=false); embeddings: (N, D) float32 of
    this split's images; labels: (N,) their classes, None where there are none; folder: the run's, with all of its files; a temporary one
    is removed with the Result.
    """

    summary: dict[str, Any]
    encoder: Encoder
    figures: dict[str, Picture]
    split: str
    embeddings: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None
    folder: Path

    def __repr__(self) -> str:
        return f"{score_table(self.summary)}\n{'folder':<36}  {self.folder}"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def run(*overrides: str, folder: str | Path | None = None) -> Result:
    """Pretrain, evaluate and record one encoder: `python -m ssl_mnist <overrides>` in this process.

    folder: where everything goes; a temporary one where none is named, which is kept as long as the Result lives. A complete run with the
    same settings, code and data that is there already is read, not made again. Runs of several threads take turns. Raises UserError or
    OSError for what a user can cause.
    """
    if misplaced := next((word for word in overrides if word.lstrip("+~").startswith(("hydra.run.", "hydra.sweep."))), None):
        raise UserError(f"{misplaced} is for the command; run(..., folder=...) says where results go")
    settings = config.compose(*overrides)
    place = Path(tempfile.mkdtemp(prefix="ssl_mnist-") if folder is None else folder).absolute()
    try:
        with training():
            pipeline.run(settings, place)
            result = _read(place, tuple(settings["allow_targets"]))
    except BaseException:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    if folder is None:
        weakref.finalize(result, shutil.rmtree, place, ignore_errors=True)
    return result


def embed(encoder: Encoder, images: Any, batch_size: int = 256, device: str = "auto") -> npt.NDArray[np.float32]:
    """Embeddings (N, D) of any images, N = 1 for a single one.

    images: uint8 in 0..255 or float in [0, 1], a numpy array or tensor (H, W), (N, H, W), (N, C, H, W) or (N, H, W, C), or one image
    (C, H, W) or (H, W, C); or a PIL image or the path of an image file, which is made grey or RGB as the encoder takes it; or a list of
    any of these. Which axis is which, the encoder's size says: (3, 32, 32) is one image for an encoder of 3 channels, and three
    images for one of 1 channel; where both orders fit, channels are first. batch_size: images a step; device: auto, cpu, cuda or mps.
    Raises ValueError for images of another size, number of channels, type or range, and for values that are not finite.
    """
    if not isinstance(encoder, Encoder):
        raise ValueError(f"embed takes an encoder, as load_encoder returns, and then images; got {type(encoder).__name__}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    parts: list[npt.NDArray[np.float32]] = [np.empty((0, encoder.dim), np.float32)]
    with _precision_kept(), torch.inference_mode():
        where = Device.choose(device, "32").device
        model = encoder if encoder.mean.device == where and not encoder.training else copy.deepcopy(encoder).to(where).eval()
        for batch in float_batches(images, encoder.spec, batch_size):
            parts.append(model(batch.to(where)).float().cpu().numpy())
    return np.concatenate(parts)


def _read(folder: Path, allow: tuple[str, ...]) -> Result:
    """The result of the complete run in a folder."""
    summary, about = read_json(folder / SUMMARY), read_json(folder / RUN)
    settings = about["settings"]
    encoder = load_encoder(folder, allow)
    split = "test" if settings["evaluation"]["test"] else "val"
    labels = None
    with contextlib.suppress(FileNotFoundError):  # there is none of images without labels
        labels = np.array(read_json(folder / PREDICTIONS)["true"], np.int64)
    return Result(
        summary=summary,
        encoder=encoder,
        figures={path.stem: Picture(path.read_bytes()) for path in sorted((folder / "figures").glob("*.png"))},
        split=split,
        embeddings=_embeddings(folder, encoder, split, summary, about),
        labels=labels,
        folder=folder,
    )


def _embeddings(
    folder: Path, encoder: Encoder, split: str, summary: Mapping[str, Any], about: Mapping[str, Any]
) -> npt.NDArray[np.float32]:
    """Of a split, (N, D): those that the evaluation kept, or made again."""
    settings, tta = about["settings"], about["settings"]["evaluation"]["tta"]
    identity = identity_of(encoder_hash(encoder), summary["data/fingerprint"], summary["data/train_size"])
    key = features_key(identity, tta, about["resolved"]["device"])
    kept = Kept(folder / "features", "features").read(f"{split}-embedding-{key}", torch.device("cpu"))
    if kept is None:
        device = Device.choose(about["resolved"]["device"], "32")
        dataset = make_dataset(settings, device)
        model = copy.deepcopy(encoder)
        device.place(model)
        kept = extract(model, (dataset.read_test() if split == "test" else dataset.val).images, set(), tta)["embedding"]
    found: npt.NDArray[np.float32] = kept.cpu().numpy()
    return found


@contextlib.contextmanager
def training() -> Iterator[None]:
    """One at a time in a process: what draws from torch's global generator and sets its threads, which are put back."""
    with _training, _precision_kept():
        threads = torch.get_num_threads()
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        try:
            with torch.random.fork_rng(devices):
                yield
        finally:
            torch.set_num_threads(threads)
            for device in devices:
                torch.cuda.set_device(device)


@contextlib.contextmanager
def _precision_kept() -> Iterator[None]:
    """Put back what choosing a device sets for all of CUDA."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic) if torch.cuda.is_available() else None
    try:
        yield
    finally:
        if before:
            cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic = before
