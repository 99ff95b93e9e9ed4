"""What a worker is made of; ``app`` is the Faust application (``faust -A app worker``)."""

from __future__ import annotations

import sys

from app.application import ButlerWriterApp
from app.errors import OperatorError
from app.settings import load_settings

__all__ = ["app"]

try:
    app = ButlerWriterApp(load_settings())
except OperatorError as exc:
    # One line instead of a traceback: this is read by an operator.
    sys.exit(f"butler-writer: {exc}")
