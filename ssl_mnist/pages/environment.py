"""Renders templates. Whatever a template prints is escaped; a variable that it lacks is an error."""

from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ssl_mnist.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["asset"] = asset
    return environment


def render(template: str, **context: Any) -> str:
    """A template of `templates/` as text. Raises jinja2.UndefinedError where the context lacks what it prints."""
    return _environment().get_template(template).render(context)


def asset(name: str) -> Markup:
    """A style sheet or script of `templates/` as it is, to be embedded: it may hold what Jinja would take for a tag."""
    return Markup((files("ssl_mnist.pages") / "templates" / name).read_text())
