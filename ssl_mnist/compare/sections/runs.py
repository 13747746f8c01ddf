"""Links to the runs: their folders, their own pages, and their explorers."""

import os
from urllib.parse import quote

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.runs import Run
from ssl_mnist.files import EXPLORER, REPORT
from ssl_mnist.pages import Items, Link, Part, Section


def section(comparison: Comparison) -> Section:
    items = []
    for configuration, runs in comparison.groups.items():
        links = [link for run in runs for link in _links(run)]
        items.append(Items.Item(f"{configuration}:", links=links))
    parts: list[Part] = [Items(items)]
    if (comparison.sweep.folder / EXPLORER).is_file():
        parts.insert(0, Items([Items.Item("All encoders, side by side:", links=[Link("explorer", EXPLORER)])]))
    return Section("runs", "Runs", parts)


def _links(run: Run) -> list[Link]:
    found = [Link(f"seed {run.seed}", address(run))]
    for name, text in {REPORT: "its report", EXPLORER: "its explorer"}.items():
        if (run.folder / name).is_file():
            found.append(Link(text, f"{address(run)}{name}"))
    return found


def address(run: Run) -> str:
    """Of a run's folder, from the page: whatever characters its name has."""
    return "./" if run.place == "." else f"{quote(os.fsencode(run.place))}/"
