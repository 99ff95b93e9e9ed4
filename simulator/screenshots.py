"""Takes the pictures of the pages that README and docs show, while a night is written.

``python -m simulator.screenshots docs/images``
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from rich.console import Console

from simulator.demo import Demo
from simulator.night import Night
from testbed.browser import browser, open_tab
from testbed.chromium_program import find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["take_screenshots"]

_Colours = Literal["light", "dark"]

#: Name and path of each page that is shown, and the height of its picture.
_PAGES = {
    "overview": ("/", 1080),
    "windows": ("/windows", 860),
    "dead-letters": ("/dead-letters", 720),
}

#: The night; the pictures are taken when this fraction of it is over.
_VISITS, _CADENCE, _DETECTORS = 36, 8.0, 48
_FRACTION = 0.85


def take_screenshots(folder: Path) -> None:
    """Take all pictures.

    Parameters
    ----------
    folder : `pathlib.Path`
        Where they are put, as ``<page>-<colours>.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = find_chromium()
    demo = Demo(
        Night(visits=_VISITS, cadence=_CADENCE, detectors=_DETECTORS),
        workers=3,
        apache_kafka=True,
        postgresql=True,
        spoiled=0.004,
        console=Console(stderr=True),
    )
    with demo, ThreadPoolExecutor(1) as pool:
        night = pool.submit(demo.run)
        time.sleep(_FRACTION * _VISITS * _CADENCE)
        with browser(program) as running:
            for colours in get_args(_Colours):
                _take(running, demo.running[0].url, folder, colours)
        night.result()


def _take(running: Browser, address: str, folder: Path, colours: _Colours) -> None:
    for name, (path, height) in _PAGES.items():
        with open_tab(running, colours=colours, height=height) as tab:
            tab.page.goto(f"{address}{path}", wait_until="networkidle")
            if path == "/":
                tab.page.get_by_text("Events are being written").wait_for(timeout=60_000)
            tab.page.screenshot(path=folder / f"{name}-{colours}.png")
            if tab.complaints:
                raise RuntimeError(f"{path}: {tab.complaints}")


if __name__ == "__main__":
    take_screenshots(Path(sys.argv[1]))
