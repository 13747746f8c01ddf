"""What the runs cost: seconds, steps, parameters."""

from ssl_mnist.compare.comparison import Comparison
from ssl_mnist.compare.runs import COSTS
from ssl_mnist.compare.sections.scores import BEST
from ssl_mnist.pages import Cell, Note, Section, Table


def section(comparison: Comparison) -> Section:
    keys = [key for key in COSTS if any(f"{key} mean" in row for row in comparison.table)]
    best = {key: comparison.best_rows(key, COSTS[key][1] is True) if COSTS[key][1] is not None else set() for key in keys}
    rows = []
    for row in comparison.rows:
        name = row["configuration"]
        cells = [Cell(name, look="name"), Cell(str(row["n"]))]
        for key in keys:
            mean = row.get(f"{key} mean")
            cells.append(Cell("-", -1) if mean is None else Cell(_plain(mean), mean, BEST if name in best[key] else ""))
        rows.append(cells)
    table = Table(["configuration", "n", *(COSTS[key][0] for key in keys)], rows, "Costs")
    note = "Means over seeds. Seconds do not hold the import of libraries; other programs on the machine lengthen them."
    return Section("costs", "Costs", [table, Note(note)])


def _plain(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 or number == int(number) else f"{number:.1f}"
