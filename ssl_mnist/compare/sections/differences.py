"""Which settings differ between the configurations."""

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.pages import Cell, Note, Section, Table

MAX_LENGTH = 200  # letters of a value
MAX_COLUMNS = 6  # configurations side by side, where there are more of them than of settings


def section(comparison: Comparison) -> Section | None:
    if len(comparison.groups) < 2:
        return None
    if not comparison.different:
        return Section("differences", "What differed", [Note("No setting differs between the configurations.", "")])
    found = {key: [_cut(value) for value in values] for key, values in comparison.different.items()}
    names = list(comparison.groups)
    if len(names) > max(MAX_COLUMNS, len(found)):  # a row a configuration
        rows = [[Cell(name, look="name"), *(Cell(values[i]) for values in found.values())] for i, name in enumerate(names)]
        table = Table(["configuration", *found], rows, "What differed", sortable=False, look="settings")
    else:
        rows = [[Cell(key, look="key"), *map(Cell, values)] for key, values in found.items()]
        table = Table(["setting", *names], rows, "What differed", sortable=False, look="settings")
    note = Note("All settings that are not the same in every configuration; - where one has none.")
    return Section("differences", "What differed", [table, note])


def _cut(value: str) -> str:
    return value if len(value) <= MAX_LENGTH else f"{value[: MAX_LENGTH - 1]}…"
