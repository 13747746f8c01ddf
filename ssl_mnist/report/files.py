"""Links to the files of a run."""

import os
from urllib.parse import quote

from ssl_mnist.compare.runs import Run
from ssl_mnist.files import ENCODER, EVALUATION, EXPLORER, METRICS, PREDICTIONS, REPRESENTATIONS, RUN, SUMMARY
from ssl_mnist.pages import Items, Link, Section

FILES = {
    EXPLORER: "the embeddings, to look at",
    SUMMARY: "scores, costs, data",
    RUN: "every setting, code, versions",
    METRICS: "what training logged",
    ENCODER: "the trained encoder",
    PREDICTIONS: "what the first probe said of each image",
    REPRESENTATIONS: "what each layer makes of some images",
    "figures/": "all figures",
    f"{EVALUATION}/": "evaluations made afterwards",
}


def links(run: Run) -> list[Link]:
    """Those that are there, from the page."""
    return [Link(name, quote(name)) for name in FILES if (run.folder / name).exists()]


def section(run: Run) -> Section:
    items = [Items.Item(f"{FILES[link.text]}:", links=[link]) for link in links(run)]
    place = os.fsencode(run.folder.absolute()).decode(errors="replace")
    return Section("files", "Files", [Items([*items, Items.Item(place, soft=True)])])
