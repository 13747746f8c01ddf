"""Texts that fit their place: widths in points by the fonts themselves."""

import re
from bisect import bisect_right
from collections.abc import Iterable

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags


def literal(text: str) -> str:
    """Dollar signs escaped, which matplotlib would read as the borders of a formula."""
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Points that the widest line of a text takes at a font size."""
    font = get_font(findfont(FontProperties(weight=weight)))
    font.set_size(size, 72)
    widths = []
    for line in text.replace(r"\$", "$").split("\n"):
        font.set_text(line, 0.0, flags=LoadFlags.NO_HINTING)
        widths.append(font.get_width_height()[0] / 64)  # in 1/64 point
    return max(widths)


def wrap(text: str, width: float, size: float) -> str:
    """Break a text after spaces, slashes and underscores into lines of at most `width` points; a longer word keeps its line."""
    parts = literal(text).split("\n")
    return "\n".join(line for part in parts for line in _lines(re.findall(r"[^\s/_]*[\s/_]?", part), width, size))


def _lines(words: Iterable[str], width: float, size: float) -> list[str]:
    lines = [""]
    for word in words:
        if lines[-1] and width_of((lines[-1] + word).rstrip(), size) > width:
            lines.append("")
        lines[-1] += word
    return [line.rstrip() for line in lines]


def cut(text: str, width: float, size: float) -> str:
    """A text in one line, ended by an ellipsis where it takes more than `width` points."""
    text = literal(text.replace("\n", " "))
    if width_of(text, size) <= width:
        return text
    kept = bisect_right(range(1, len(text)), width, key=lambda length: width_of(text[:length] + "…", size))
    return text[:kept].rstrip() + "…"


def fit(text: str, width: float, size: float, lines: int) -> str:
    """A text wrapped to `width` points, at most `lines` lines, each cut to the width."""
    wrapped = wrap(text, width, size).split("\n")
    if len(wrapped) > lines:
        wrapped = [*wrapped[: lines - 1], " ".join(wrapped[lines - 1 :])]
    return "\n".join(cut(line, width, size) for line in wrapped)
