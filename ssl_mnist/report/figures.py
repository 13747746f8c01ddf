"""The figures of a run, embedded as far as the bytes reach; further ones are links."""

from urllib.parse import quote

from ssl_mnist.compare.runs import Run
from ssl_mnist.pages import Items, Link, Part, Picture, Pictures, Section
from ssl_mnist.pages.images import TITLES, embedded, figure_of

MAX_BYTES = 2 * 2**20  # of all embedded figures together
# Sections, each with its title and figures; what is in none of them comes last.
GROUPS = {
    "views": ("What the method sees", ["augmented_views", "class_distribution"]),
    "errors": ("Errors", ["per_class_accuracy", "confusion_matrix", "most_confused", "furthest_from_class"]),
    "embeddings": ("Embeddings", ["tsne", "pca", "nearest_neighbours"]),
}
DRAWN_ANEW = ("loss", "learning_rate", "pretext_metrics", "health")  # by curves.py and health.py


def sections(run: Run) -> list[Section]:
    known = {name for _, names in GROUPS.values() for name in names}
    others = sorted(path.stem for path in (run.folder / "figures").glob("*.png") if path.stem not in (*known, *DRAWN_ANEW))
    left, found = MAX_BYTES, []
    for anchor, (title, names) in {**GROUPS, "figures": ("More figures", others)}.items():
        pictures, links = [], []
        for name in names:
            path = figure_of(run.folder, name)
            if path is None:
                continue
            source = embedded(path)
            if len(source) > left:
                links.append(Link(f"{name}.png", f"figures/{quote(name)}.png"))
            else:
                left -= len(source)
                pictures.append(Picture(source, TITLES.get(name, name.replace("_", " "))))
        parts: list[Part] = [Pictures(pictures, "large natural")] if pictures else []
        parts += [Items([Items.Item("Not embedded:", links=links)])] if links else []
        found += [Section(anchor, title, parts)] if parts else []
    return found
