"""A sweep's runs side by side: one table, one page, plain words on what differs and whether it is real, from local files alone."""

from ssl_mnist.compare.report import Comparison, compare_runs, report, write
from ssl_mnist.compare.runs import Run, Sweep, configurations, read

__all__ = ["Comparison", "Run", "Sweep", "compare_runs", "configurations", "read", "report", "write"]
