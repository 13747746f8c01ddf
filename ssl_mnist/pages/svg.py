"""matplotlib's figures as SVG inside a page: a few kilobytes, with texts as texts, in the page's colours (style.css)."""

import io
import re

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

# Names that matplotlib gives to groups and that nothing refers to; two figures of one page would share them.
_UNUSED = re.compile(r' id="(?:figure|axes|legend|matplotlib\.axis|patch|line2d|text|[xy]tick)_\d+"')


def svg(figure: Figure, name: str) -> Markup:
    """name: of the figure, one a page: markers and clips that its lines refer to are named by it."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return Markup(_UNUSED.sub("", text[text.index("<svg") :]))
