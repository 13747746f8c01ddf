"""What is put on the page: the images, each encoder's view of them, and the encoders themselves, as far as there is room."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_mnist.checkpoint import load_encoder
from ssl_mnist.console import say
from ssl_mnist.data import Dataset, ImageSpec, Split, random_part
from ssl_mnist.encoders import Encoder
from ssl_mnist.errors import UserError
from ssl_mnist.explore.layouts import MAX_TSNE_3D, TITLES, layouts
from ssl_mnist.explore.page import Page, arrays_of, compressed, packed, runtime, text_of
from ssl_mnist.explore.points import Points, points_of
from ssl_mnist.explore.runs import Explored
from ssl_mnist.explore.sheet import Sheet, sheet
from ssl_mnist.export.onnx import to_onnx
from ssl_mnist.training.device import Device

MAX_SHEET = 3 * 2**20  # bytes of the images; where they need more, fewer are shown
MAX_CODES = int(2.6 * 2**20)  # bytes by which the page finds neighbours, of all methods together
MIN_PARALLEL = 2_000  # points of all methods together, from which starting processes pays


class Made(NamedTuple):
    """A method on the page."""

    name: str
    encoder: Encoder
    points: Points


def add_images(page: Page, dataset: Dataset, split: str, num: int) -> Tensor:
    """Put `num` images of a split on the page, the same ones in every page of the data, and their labels; returns their positions (N,)."""
    shown = dataset.read_test() if split == "test" else dataset.val
    chosen, tiles = _fitting(shown, num)
    spec = dataset.spec
    page.meta |= {
        "num": len(chosen),
        "total": len(shown),
        "split": split,
        "positions": chosen.tolist(),
        "classes": spec.classes,
        "channels": spec.channels,
        "height": spec.height,
        "width": spec.width,
        "sheet": {"columns": tiles.columns, "width": tiles.width, "height": tiles.height},
        "drawn": _drawn(spec),
        "labels": None,
    }
    page.add({"sheet": text_of(tiles.data)})
    if shown.labels is not None:
        page.meta["labels"], text = packed({"labels": shown.labels[chosen].cpu().numpy().astype("uint16")})
        page.add({"labels": text})
    if split == "val":
        page.remarks.append("Test was not read: these are images of val, and the probe was fitted to train alone.")
    return chosen


def _fitting(split: Split, num: int) -> tuple[Tensor, Sheet]:
    """Positions and pictures of `num` images, or of as many as MAX_SHEET holds."""
    while True:
        chosen = random_part(split, num).sort().values
        tiles = sheet(split.images[chosen])
        if len(tiles.data) <= MAX_SHEET:
            return chosen, tiles
        num = int(0.95 * num * MAX_SHEET / len(tiles.data))


def _drawn(spec: ImageSpec) -> str | None:
    """What one can draw: grey images that may be others in a mirror are written characters."""
    if spec.channels != 1 or "HorizontalFlip" not in spec.label_changing:
        return None
    return "digit" if spec.classes is None or all(name.isdigit() for name in spec.classes) else "character"


def add_methods(
    page: Page, runs: Sequence[Explored], dataset: Dataset, split: str, chosen: Tensor, names: list[str], device: Device
) -> list[Made]:
    """Put on the page what the encoder of each run makes of the chosen images."""
    titles = [{"name": name, "title": TITLES[name]} for name in names]
    page.meta |= {"layouts": titles, "max_tsne_3d": MAX_TSNE_3D, "methods": []}
    all_made: list[Made] = []
    for run in runs:
        say(f"embed   {run.name}: {len(chosen):,} images of {split}")
        encoder = load_encoder(run.folder, allow=tuple(run.record["settings"]["allow_targets"]))
        device.place(encoder)
        points = points_of(run, encoder, dataset, chosen, split == "test", MAX_CODES // len(runs))
        all_made.append(Made(run.name, encoder, points))
    say(f"layout  {', '.join(title['title'] for title in titles)}")
    num_processes = torch.get_num_threads() if len(runs) * len(chosen) >= MIN_PARALLEL else 1
    embeddings = [made.points.embeddings.float().cpu().numpy() for made in all_made]
    all_layouts = layouts(embeddings, names, [made.points.seed for made in all_made], num_processes)
    shown: list[Made] = []
    for made, found in zip(all_made, all_layouts, strict=True):
        places, text = packed(arrays_of(made.points, found))
        if not page.add({f"points{len(shown)}": text}):
            page.remarks.append(f"{made.name} is not on this page, which would be larger than 15 MiB.")
            continue
        shares = next((layout.shares for layout in found if layout.name == "pca"), ())
        page.meta["methods"].append({"name": made.name, "arrays": places, "shares": shares, "step": made.points.codes.step, "runs": False})
        shown.append(made)
    page.meta["probed"] = all(each.points.predicted is not None for each in shown)
    return shown


def add_encoders(page: Page, made: Sequence[Made]) -> None:
    """Put the encoders on the page that there is room for, and the program that runs them."""
    for i, (name, encoder, points) in enumerate(made):
        try:
            model = compressed(_model(encoder, points))
        except UserError as error:  # one that cannot be exported, or a package that is missing
            page.remarks.append(f"{name} is not run in the browser: {error}.")
            continue
        if page.add({f"model{i}": model} | ({} if "wasm" in page.blobs else runtime())):
            page.meta["methods"][i]["runs"] = True
        else:
            page.remarks.append(f"{name} is not run in the browser: with its encoder the page would be larger than 15 MiB.")


def _model(encoder: Encoder, points: Points) -> bytes:
    """The encoder and its probe as an ONNX file's content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(encoder, path, points.probe)
        return path.read_bytes()
