"""Renders the templates of the pages: text of events is always text, never markup."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.telemetry.labels import Step
from app.web.formats import FORMATS

__all__ = ["STATIC", "render"]

_FOLDER = Path(__file__).parent

#: The files that templates refer to.
STATIC = _FOLDER / "static"

#: The pages in the navigation, with their titles.
_PAGES = {
    "": "Overview",
    "windows": "Windows",
    "chains": "Chains",
    "dead-letters": "Dead letters",
    "workers": "Workers",
    "settings": "Settings",
    "about": "About",
}


def render(template: str, *, page: str, depth: int = 0, **content: Any) -> str:
    """Return a page as HTML.

    Parameters
    ----------
    template : `str`
        The name of the template, without its suffix.
    page : `str`
        The page of the navigation that it belongs to.
    depth : `int`, optional
        How many folders deep the page is.  Links are relative, so that pages also work below a
        prefix that a proxy adds.
    **content
        What the template shows.
    """
    root = "../" * depth or "./"
    return (
        _environment()
        .get_template(f"{template}.html")
        .render(root=root, page=page, pages=_PAGES, steps=[*Step], **content)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FORMATS)
    return environment
