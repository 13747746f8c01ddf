"""HTML pages: what they show as plain data, and the Jinja2 templates that draw it. A page is one file that needs no network."""

from ssl_mnist.pages.chart import Chart, Line
from ssl_mnist.pages.environment import render
from ssl_mnist.pages.parts import (
    Cell,
    Command,
    Details,
    Heading,
    Items,
    Link,
    Note,
    Panels,
    Part,
    Picture,
    Pictures,
    Plot,
    Section,
    Table,
)

__all__ = [
    "Cell", "Chart", "Command", "Details", "Heading", "Items", "Line", "Link", "Note", "Panels", "Part", "Picture", "Pictures", "Plot",
    "Section", "Table", "render",
]  # fmt: skip
