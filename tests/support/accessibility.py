"""Whether everybody can use a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

__all__ = ["check_fits", "check_usable"]


def check_fits(page: Page, width: int) -> None:
    """Check that a page is not wider than its window."""
    size = page.viewport_size
    assert size is not None
    page.set_viewport_size({"width": width, "height": size["height"]})
    assert page.evaluate("document.documentElement.scrollWidth") <= width, page.url
    page.set_viewport_size(size)


def check_usable(page: Page) -> None:
    """Check that axe-core finds nothing serious."""
    response = Axe().run(page).response
    assert len(response["passes"]) > 10
    serious = [
        (each["id"], [node["target"] for node in each["nodes"]])
        for each in response["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == [], page.url
