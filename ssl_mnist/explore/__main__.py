"""`python -m ssl_mnist.explore <run or sweep>`: write explore.html, one page to look at embeddings and to draw on."""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_mnist.console import say, shown
from ssl_mnist.errors import UserError, explain
from ssl_mnist.files import atomic_write

if TYPE_CHECKING:
    from ssl_mnist.encoders import Encoder
    from ssl_mnist.explore.points import Points

MAX_POINTS = 10_000
MANY_POINTS = 30_000  # of all methods together: a page of more methods shows fewer points of each
DRAWN = ("digits", "letters")  # kinds of data that one can draw


def explore(path: Path, num_points: int | None = None, layouts: list[str] | None = None, overrides: list[str] | None = None) -> Path:
    """Write `explore.html` into the folder of a run or of a sweep; returns its path.

    num_points: images to show, at most; layouts: of pca, tsne and umap, all that are installed unless given; overrides: such as
    data.root=<folder>, where the data are not where the run found them. Raises UserError or OSError for what a user can cause.
    """
    from ssl_mnist.explore import page
    from ssl_mnist.explore.runs import find, read_data

    page.check_place(path)
    runs, remarks = find(path)

    import numpy as np

    from ssl_mnist.checkpoint import load_encoder
    from ssl_mnist.data import random_part
    from ssl_mnist.explore.layouts import TITLES, available
    from ssl_mnist.explore.points import points_of
    from ssl_mnist.explore.sheet import sheet
    from ssl_mnist.training.device import Device
    from ssl_mnist.training.threads import choose_threads

    names = layouts or available()
    if missing := [name for name in names if name not in available()]:
        raise UserError(f"{missing[0]} is not installed: pip install -e '.[umap]'" if missing[0] in TITLES else f"layouts are {', '.join(TITLES)}")
    choose_threads("auto")
    device = Device.choose("auto", "32")
    dataset = read_data(runs[0], overrides or [], device)
    reads_test = all(run.reads_test for run in runs)
    split, images = ("test", dataset.read_test()) if reads_test else ("val", dataset.val)
    chosen = random_part(images, min(num_points or MAX_POINTS, MANY_POINTS // len(runs), MAX_POINTS)).sort().values
    tiles = sheet(images.images[chosen.to(images.images.device)])
    spec = dataset.spec
    blobs = {"sheet": page.picture(tiles)}
    meta: dict[str, Any] = {
        "num": len(chosen),
        "split": split,
        "classes": spec.classes,
        "channels": spec.channels,
        "height": spec.height,
        "width": spec.width,
        "positions": chosen.tolist(),
        "sheet": {"columns": tiles.columns, "width": tiles.width, "height": tiles.height},
        "layouts": [{"name": name, "title": TITLES[name]} for name in names],
        "canvas": spec.channels == 1,
        "search": "3, 3 → 9, wrong or #12" if spec.classes else "#12",
        "labels": None,
        "methods": [],
    }
    if images.labels is not None:
        packed = page.packed({"labels": images.labels[chosen].cpu().numpy().astype("uint16")})
        meta["labels"], blobs["labels"] = packed["arrays"], packed["data"]
    models: list[tuple[int, Encoder, Points]] = []
    for i, run in enumerate(runs):
        started = time.perf_counter()
        say(f"embed   {run.name}: {len(chosen):,} images of {split}")
        encoder = load_encoder(run.folder, allow=tuple(run.record["settings"]["allow_targets"]))
        device.place(encoder)
        points = points_of(run, encoder, dataset, chosen, names, reads_test)
        packed = page.packed(page.arrays_of(points))
        blobs[f"points{i}"] = packed["data"]
        shares = next((layout.shares for layout in points.layouts if layout.name == "pca"), ())
        meta["methods"].append({"name": run.name, "arrays": packed["arrays"], "shares": shares, "runs": False})
        models.append((i, encoder, points))
        say(f"        {time.perf_counter() - started:.0f} s")
    meta["probed"] = all(points.predicted is not None for _, _, points in models)
    blobs |= page.runtime()
    for i, encoder, points in models:
        model = _model(encoder, points)
        blobs[f"model{i}"] = page.compressed(model)
        meta["methods"][i]["runs"] = True
    title = f"{runs[0].name if len(runs) == 1 else path.resolve().name} on {dataset.name}"
    about = f"{len(chosen):,} of {len(images):,} {split} images"
    html = page.page(meta | {"title": title}, blobs, title, about, remarks)
    target = path / page.NAME
    atomic_write(target, html)
    say(f"page    {shown(target)}, {len(html) / 2**20:.1f} MiB")
    return target


def _model(encoder: "Encoder", points: "Points") -> bytes:
    """The encoder and its probe as an ONNX file's content."""
    from ssl_mnist.export.onnx import to_onnx

    with tempfile.TemporaryDirectory() as folder:
        to_onnx(encoder, Path(folder) / "model.onnx", points.probe)
        return (Path(folder) / "model.onnx").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ssl_mnist.explore", description="Write a page to look at embeddings and to draw on.")
    parser.add_argument("path", type=Path, help="a run's folder, or a sweep's")
    parser.add_argument("overrides", nargs="*", help="where the data are, if they have moved: data.root=<folder>")
    parser.add_argument("--points", type=int, help=f"images to show, at most {MAX_POINTS:,}")
    parser.add_argument("--layouts", nargs="+", metavar="NAME", help="of pca, tsne, umap; all that are installed unless given")
    arguments = parser.parse_args()
    try:
        explore(arguments.path, arguments.points, arguments.layouts, arguments.overrides)
    except (UserError, OSError) as error:
        sys.exit(f"ssl_mnist: {explain(error) if isinstance(error, OSError) else error}")


if __name__ == "__main__":
    main()
