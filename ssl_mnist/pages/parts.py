"""What pages are made of, as plain data. `templates/parts.html` draws each by its `kind`.

All texts are plain: the templates escape them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol

from markupsafe import Markup


class Part(Protocol):
    kind: ClassVar[str]


@dataclass(frozen=True)
class Section:
    """Has a heading, and a line in the navigation."""

    id: str  # of the anchor
    title: str
    parts: Sequence[Part]
    bad: bool = False  # tells of a failure


class Link(NamedTuple):
    text: str
    address: str  # quoted for a URL


@dataclass(frozen=True)
class Heading:
    """Within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    kind: ClassVar[str] = "note"
    text: str
    tone: str = "soft"  # a class of style.css: soft, bad, or empty
    code: str = ""  # after the text


@dataclass(frozen=True)
class Items:
    """A list; an item is a text, with code before it or links after it."""

    kind: ClassVar[str] = "items"

    class Item(NamedTuple):
        text: str = ""
        code: str = ""
        links: Sequence[Link] = ()
        soft: bool = False

    items: Sequence[Item]


class Cell(NamedTuple):
    """Of a table."""

    text: str
    value: float | None = None  # to sort by, where that is not the text
    best: str = ""  # what it is the best of; empty where it is not
    look: str = ""  # name (a long text that is wrapped), short (the same, narrower), key (broken after its dots), words (prose)
    below: str = ""  # a second, soft line


@dataclass(frozen=True)
class Table:
    """Rows of as many cells as there are heads, if there are any."""

    kind: ClassVar[str] = "table"
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    label: str  # for screen readers
    foot: Sequence[Cell] = ()  # a last row, that stays in sight
    below: Sequence[Sequence[Cell]] = ()  # rows that stay below the others, however these are sorted
    sortable: bool = True
    look: str = ""  # settings: cells of long texts


@dataclass(frozen=True)
class Plot:
    """An interactive plot, in the HTML and script that plotly writes."""

    kind: ClassVar[str] = "plot"
    markup: Markup
    label: str  # for screen readers


@dataclass(frozen=True)
class Panels:
    """Plots or charts side by side, each with its title; one alone takes the whole width."""

    kind: ClassVar[str] = "panels"
    plots: Mapping[str, Part]


class Picture(NamedTuple):
    """An image."""

    source: str  # a data URI, or an address
    alt: str
    caption: str = ""
    links: Sequence[Link] = ()


@dataclass(frozen=True)
class Pictures:
    kind: ClassVar[str] = "pictures"
    pictures: Sequence[Picture]
    look: str = ""  # a class of style.css


@dataclass(frozen=True)
class Command:
    """A command line, with a button that copies it."""

    kind: ClassVar[str] = "command"
    text: str


@dataclass(frozen=True)
class Details:
    """Parts that are folded away."""

    kind: ClassVar[str] = "details"
    summary: str
    parts: Sequence[Part] = field(default_factory=list)
