"""A run's own page, report.html in its folder: made from the run's files alone, at its end and whenever asked for."""

from ssl_mnist.report.page import write

__all__ = ["write"]
