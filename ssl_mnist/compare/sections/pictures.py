"""Figures of the runs: one a configuration is embedded, the best first; all others are links."""

from pathlib import Path

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.sections.runs import address
from ssl_mnist.pages import Details, Items, Link, Part, Picture, Pictures, Section
from ssl_mnist.pages.images import TITLES, embedded, figure_of

MAX_PICTURES = 12
MAX_BYTES = 4 * 2**20  # of all embedded figures together
# Figures of the runs that are embedded, as far as the bytes reach, in the order of the page; and how they are laid out.
PICTURES = {"tsne": "", "pca": "", "most_confused": "large natural", "furthest_from_class": "large", "nearest_neighbours": "large"}


def sections(comparison: Comparison) -> list[Section]:
    left, found = MAX_BYTES, []
    order = [*comparison.ranking, *(name for name in comparison.groups if name not in comparison.ranking)]
    shown = set(order[:MAX_PICTURES])
    for name, look in PICTURES.items():
        title, pictures, others = TITLES[name], [], []
        for configuration in order:
            paths = [(run, path) for run in comparison.groups[configuration] if (path := figure_of(run.folder, name))]
            if not paths:
                continue
            links = [Link(f"seed {run.seed}", f"{address(run)}figures/{name}.png") for run, _ in paths[:20]]
            source = _embedded(paths[0][1], left) if configuration in shown else None
            if source is None:
                others.append(Items.Item(f"{configuration}:", links=links))
            else:
                left -= len(source)
                pictures.append(Picture(source, f"{title}, {configuration}", configuration, links))
        parts: list[Part] = [Pictures(pictures, look)] if pictures else []
        parts += [Details(f"{len(others)} more", [Items(others)])] if others else []
        found += [Section(name, title, parts)] if parts else []
    return found


def _embedded(path: Path, most: int) -> str | None:
    """None where it takes too many bytes, or cannot be read."""
    try:
        source = embedded(path)
    except OSError:
        return None
    return source if len(source) <= most else None
