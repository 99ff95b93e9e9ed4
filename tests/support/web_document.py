"""The files that docs/web.md shows."""

from __future__ import annotations

import re

from testbed.worker import CHECKOUT

__all__ = ["PORT", "blocks"]

#: The port of Faust's web server, unless ``--web-port`` names another one.
PORT = 6066


def blocks(language: str) -> list[str]:
    """Return the blocks of a language."""
    text = (CHECKOUT / "docs" / "web.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
