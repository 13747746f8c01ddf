"""A sweep's runs side by side: one table, one page, and in plain words what differs and whether it is real. Reads local files alone."""

from ssl_mnist.compare.comparison import Comparison, compare_runs
from ssl_mnist.compare.reading import read
from ssl_mnist.compare.report import report, write
from ssl_mnist.compare.runs import Job, Run, Sweep, configurations
from ssl_mnist.compare.statistics import against_published
from ssl_mnist.intervals import sampling_error

__all__ = [
    "Comparison", "Job", "Run", "Sweep", "against_published", "compare_runs", "configurations", "read", "report", "sampling_error", "write",
]  # fmt: skip
