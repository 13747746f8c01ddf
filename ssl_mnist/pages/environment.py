"""Renders templates. Whatever a template prints is escaped; a variable that it lacks is an error."""

from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@lru_cache(maxsize=2)
def _environment(package: str) -> Environment:
    loader = ChoiceLoader([PackageLoader(package), PackageLoader("ssl_mnist.pages")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["asset"] = asset
    return environment


def render(template: str, package: str = "ssl_mnist.pages", **context: Any) -> str:
    """A template as text, from `templates/` of a package or else of this one.

    Raises jinja2.UndefinedError where the context lacks what it prints.
    """
    return _environment(package).get_template(template).render(context)


def asset(name: str, package: str = "ssl_mnist.pages") -> Markup:
    """A style sheet or script of a package's `templates/` as it is, to be embedded: it may hold what Jinja would take for a tag."""
    return Markup((files(package) / "templates" / name).read_text())
