"""Which settings differ between the configurations."""

from ssl_mnist.compare.report import Comparison
from ssl_mnist.pages import Cell, Note, Section, Table

MAX_LENGTH = 200  # letters of a value


def section(comparison: Comparison) -> Section | None:
    if len(comparison.groups) < 2:
        return None
    if not comparison.different:
        return Section("differences", "What differed", [Note("No setting differs between the configurations.", "")])
    rows = [[Cell(key, look="key"), *(Cell(_cut(value)) for value in values)] for key, values in comparison.different.items()]
    table = Table(["setting", *comparison.groups], rows, "What differed", sortable=False, look="settings")
    note = Note("All settings that are not the same in every configuration; - where one has none.")
    return Section("differences", "What differed", [table, note])


def _cut(value: str) -> str:
    return value if len(value) <= MAX_LENGTH else f"{value[: MAX_LENGTH - 1]}…"
