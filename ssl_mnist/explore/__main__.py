"""`python -m ssl_mnist.explore <run or sweep>`: write explore.html, one page to look at embeddings and to draw on."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ssl_mnist.console import say, shown
from ssl_mnist.errors import UserError, explain
from ssl_mnist.files import EXPLORER, RUN, atomic_write

MAX_POINTS = 10_000
MANY_POINTS = 30_000  # of all methods together: a page of more methods shows fewer points of each


def explore(path: Path, num_points: int = MAX_POINTS, layouts: Sequence[str] = (), overrides: Sequence[str] = ()) -> Path:
    """Write `explore.html` into the folder of a run or of a sweep; returns its path.

    num_points: images to show, at most; layouts: of pca, tsne and umap, all that are installed unless given; overrides: such as
    data.root=<folder>, where the data are not where the run found them. Raises UserError or OSError for what a user can cause.
    """
    from ssl_mnist.explore.runs import find, read_data

    if not 10 <= num_points <= MAX_POINTS:
        raise UserError(f"--points must be in 10..{MAX_POINTS:,}, got {num_points}")
    runs, left_out = find(path)

    from ssl_mnist.explore.contents import add_encoders, add_images, add_methods
    from ssl_mnist.explore.layouts import choose
    from ssl_mnist.explore.page import Page, check_place
    from ssl_mnist.pipeline import write_report
    from ssl_mnist.training.device import Device
    from ssl_mnist.training.threads import choose_threads

    check_place(path)
    names = choose(layouts)
    choose_threads("auto")
    device = Device.choose("auto", "32")
    dataset = read_data(runs[0], overrides, device)

    page = Page()
    page.remarks += [f"Not on this page: {what}." for what in left_out]
    split = "test" if all(run.reads_test for run in runs) else "val"
    chosen = add_images(page, dataset, split, min(num_points, MANY_POINTS // len(runs)))
    made = add_methods(page, runs, dataset, split, chosen, names, device)
    add_encoders(page, made)
    target = path / EXPLORER
    html = page.html(f"{runs[0].name if len(runs) == 1 else path.resolve().name} on {dataset.name}")
    atomic_write(target, html)
    if (path / RUN).is_file():
        write_report(path)  # which links it
    for remark in page.remarks:
        say(f"        {remark}")
    say(f"page    {shown(target)}, {len(html.encode()) / 2**20:.1f} MiB")
    return target


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
