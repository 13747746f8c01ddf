"""`python -m ssl_mnist.explore <run or sweep>`: write explore.html, one page to look at embeddings and to draw on."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_mnist.console import say, shown
from ssl_mnist.errors import UserError, explain
from ssl_mnist.files import EXPLORER, atomic_write

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_mnist.data import ImageSpec, Split
    from ssl_mnist.encoders import Encoder
    from ssl_mnist.explore.page import Page
    from ssl_mnist.explore.points import Points
    from ssl_mnist.explore.sheet import Sheet

MAX_POINTS = 10_000
MANY_POINTS = 30_000  # of all methods together: a page of more methods shows fewer points of each
MAX_CODES = int(2.6 * 2**20)  # bytes by which the page finds neighbours, of all methods together
MAX_SHEET = 3 * 2**20  # bytes of the images; where they need more, fewer are shown


def explore(path: Path, num_points: int = MAX_POINTS, layouts: Sequence[str] = (), overrides: Sequence[str] = ()) -> Path:
    """Write `explore.html` into the folder of a run or of a sweep; returns its path.

    num_points: images to show, at most; layouts: of pca, tsne and umap, all that are installed unless given; overrides: such as
    data.root=<folder>, where the data are not where the run found them. Raises UserError or OSError for what a user can cause.
    """
    from ssl_mnist.explore.runs import find, read_data

    runs, left_out = find(path)

    from ssl_mnist.checkpoint import load_encoder
    from ssl_mnist.explore.layouts import TITLES, choose
    from ssl_mnist.explore.page import Page, arrays_of, check_place, packed, runtime, text_of
    from ssl_mnist.explore.points import points_of
    from ssl_mnist.training.device import Device
    from ssl_mnist.training.threads import choose_threads

    if not 10 <= num_points <= MAX_POINTS:
        raise UserError(f"--points must be in 10..{MAX_POINTS:,}, got {num_points}")
    check_place(path)
    names = choose(layouts)
    choose_threads("auto")
    device = Device.choose("auto", "32")
    dataset = read_data(runs[0], overrides, device)
    reads_test = all(run.reads_test for run in runs)
    split, shown_split = ("test", dataset.read_test()) if reads_test else ("val", dataset.val)
    chosen, sheet = _choose(shown_split, min(num_points, MANY_POINTS // len(runs)))

    page = Page(_about_images(dataset.spec, split, chosen, sheet), [f"Not on this page: {what}." for what in left_out])
    page.meta["layouts"] = [{"name": name, "title": TITLES[name]} for name in names]
    page.add({"sheet": text_of(sheet.data)})
    if shown_split.labels is not None:
        page.meta["labels"], text = packed({"labels": shown_split.labels[chosen].cpu().numpy().astype("uint16")})
        page.add({"labels": text})
    made: list[tuple[str, Encoder, Points]] = []
    for run in runs:
        say(f"embed   {run.name}: {len(chosen):,} images of {split}")
        encoder = load_encoder(run.folder, allow=tuple(run.record["settings"]["allow_targets"]))
        device.place(encoder)
        points = points_of(run, encoder, dataset, chosen, names, reads_test, MAX_CODES // len(runs))
        places, text = packed(arrays_of(points))
        if not page.add({f"points{len(made)}": text}):
            page.remarks.append(f"{run.name} is not on this page, which would be larger than 15 MiB.")
            continue
        shares = next((layout.shares for layout in points.layouts if layout.name == "pca"), ())
        page.meta["methods"].append({"name": run.name, "arrays": places, "shares": shares, "step": points.codes.step, "runs": False})
        made.append((run.name, encoder, points))
    page.meta["probed"] = all(points.predicted is not None for _, _, points in made)
    if not reads_test:
        page.remarks.append("Test was not read; these are the images of val, and the probe was fitted to train alone.")
    _add_encoders(page, made, runtime())

    if not page.meta["classes"]:
        about = f"{len(chosen):,} of {len(shown_split):,} {split} images, without labels"
    else:
        about = f"{len(chosen):,} of {len(shown_split):,} {split} images"
    html = page.html(f"{runs[0].name if len(runs) == 1 else path.resolve().name} on {dataset.name}", about)
    target = path / EXPLORER
    atomic_write(target, html)
    for remark in page.remarks:
        say(f"        {remark}")
    say(f"page    {shown(target)}, {len(html.encode()) / 2**20:.1f} MiB")
    return target


def _choose(split: "Split", num: int) -> "tuple[Tensor, Sheet]":
    """The positions of the images to show, the same in every page of the data, and these images; fewer where they take too many bytes."""
    from ssl_mnist.data import random_part
    from ssl_mnist.explore.sheet import sheet

    while True:
        chosen = random_part(split, num).sort().values
        found = sheet(split.images[chosen])
        if len(found.data) <= MAX_SHEET:
            return chosen, found
        num = int(0.95 * num * MAX_SHEET / len(found.data))


def _about_images(spec: "ImageSpec", split: str, chosen: "Tensor", sheet: "Sheet") -> dict[str, object]:
    """What data.js is told of the images."""
    return {
        "num": len(chosen),
        "split": split,
        "positions": chosen.tolist(),
        "classes": spec.classes,
        "channels": spec.channels,
        "height": spec.height,
        "width": spec.width,
        "sheet": {"columns": sheet.columns, "width": sheet.width, "height": sheet.height},
        "drawn": _drawn(spec),
        "labels": None,
        "methods": [],
    }


def _drawn(spec: "ImageSpec") -> str | None:
    """What one can draw: grey images that may be others in a mirror are written characters."""
    if spec.channels != 1 or "HorizontalFlip" not in spec.label_changing:
        return None
    return "digit" if spec.classes is None or all(name.isdigit() for name in spec.classes) else "character"


def _add_encoders(page: "Page", made: "list[tuple[str, Encoder, Points]]", runtime: dict[str, str]) -> None:
    """The program that runs the encoders, and as many of them as there is room for."""
    from ssl_mnist.explore.page import compressed

    for i, (name, encoder, points) in enumerate(made):
        try:
            model = compressed(_model(encoder, points))
        except UserError as error:
            page.remarks.append(f"{name} is not run in the browser: {error}.")
            continue
        if page.add({f"model{i}": model} | ({} if "wasm" in page.blobs else runtime)):
            page.meta["methods"][i]["runs"] = True
        else:
            page.remarks.append(f"{name} is not run in the browser: with its encoder the page would be larger than 15 MiB.")


def _model(encoder: "Encoder", points: "Points") -> bytes:
    """The encoder and its probe as an ONNX file's content."""
    from ssl_mnist.export.onnx import to_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(encoder, path, points.probe)
        return path.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ssl_mnist.explore", description="Write a page to look at embeddings and to draw on.")
    parser.add_argument("path", type=Path, help="a run's folder, or a sweep's")
    parser.add_argument("overrides", nargs="*", help="where the data are, if they have moved: data.root=<folder>")
    parser.add_argument("--points", type=int, default=MAX_POINTS, help=f"images to show; {MAX_POINTS:,} unless given")
    parser.add_argument("--layouts", nargs="+", metavar="NAME", default=(), help="of pca, tsne, umap; all that are installed unless given")
    arguments = parser.parse_args()
    try:
        explore(arguments.path, arguments.points, arguments.layouts, arguments.overrides)
    except (UserError, OSError) as error:
        sys.exit(f"ssl_mnist: {explain(error) if isinstance(error, OSError) else error}")


if __name__ == "__main__":
    main()
