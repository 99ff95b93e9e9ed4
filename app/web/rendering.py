"""Renders the templates of the pages: text of events is always text, never markup."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.installation import own_version
from app.operations.pages.documents import FlowState
from app.printable import printable
from app.telemetry.labels import Step
from app.web.formats import FORMATS
from app.web.next_steps import next_steps

__all__ = ["DOCUMENTS", "STATIC", "render"]

_FOLDER = Path(__file__).parent

#: The files that templates refer to.
STATIC = _FOLDER / "static"

#: How many folders deep a page is at most: the links of one grow with each.
_DEEPEST = 100

#: Where the documents are published; alerts and dashboard have the same address.
DOCUMENTS = "https://butler-writer.lsst.io/"

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

#: Those of workers that fill a downstream repository.
_DOWNSTREAM_PAGES = {"": "Overview", "waiting": "Waiting", **_PAGES}


def render(
    template: str,
    *,
    page: str,
    depth: int = 0,
    state: FlowState | None = None,
    where: str = "Butler Writer",
    is_downstream: bool = False,
    logs_products: bool = True,
    **content: Any,
) -> str:
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
    state : `FlowState`, optional
        Whether events are written: in the title of the tab, and in the head of the page.
    where : `str`, optional
        Which group and which worker it is: in the title of the tab.
    is_downstream : `bool`, optional
        Whether the workers fill a downstream repository.
    logs_products : `bool`, optional
        Whether they write the product log.
    **content
        What the template shows.
    """
    root = "../" * min(depth, _DEEPEST) or "./"
    has_step = {Step.KEEP_WAITING: is_downstream, Step.LOG_PRODUCTS: logs_products}
    return (
        _environment()
        .get_template(f"{template}.html")
        .render(
            root=root,
            page=page,
            pages=_DOWNSTREAM_PAGES if is_downstream else _PAGES,
            is_downstream=is_downstream,
            steps=[step for step in Step if has_step.get(step, True)],
            state=state,
            where=where,
            version=_version(),
            now=time.time(),
            **content,
        )
    )


@cache
def _version() -> str:
    return own_version()


def _shown(value: Any) -> Any:
    """Return text in which nothing reorders the characters beside it; markup as it is."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return printable(value, keep="\n\t") if is_text else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FORMATS)
    environment.globals.update(documents=DOCUMENTS, next_steps=next_steps)
    return environment
