"""The service; ``app`` is its Faust application (``faust -A app worker``).

The application is created on first access, so importing a package such as ``app.butler`` loads
neither Faust nor the settings.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

    app: ButlerWriterApp

__all__ = ["COLLECTOR_THRESHOLDS", "app"]

#: Thresholds of Python's garbage collector, in objects.  A window has half a million objects and
#: no reference cycles.  With Python's default of 700, collection took a third of the CPU time (our
#: measurement, 189 events of 100 datasets: 1.4 s instead of 0.9 s).  The imports gain, too.
COLLECTOR_THRESHOLDS = (50_000, 10, 10)


def __getattr__(name: str) -> Any:
    """Create the application when ``app`` is first accessed."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    from app.errors import OperatorError  # noqa: PLC0415 - see above
    from app.installation import find_own  # noqa: PLC0415

    try:
        find_own("models")
        from app.settings import load_settings  # noqa: PLC0415
        from app.telemetry.log import start_logging  # noqa: PLC0415

        settings = load_settings()
        start_logging(settings)  # before libraries are imported, which may warn
        from app.application import ButlerWriterApp  # noqa: PLC0415

        made = ButlerWriterApp(settings)
    except OperatorError as exc:
        from app.commands.unusable import end_unusable  # noqa: PLC0415

        end_unusable(exc)
    globals()["app"] = made
    return made
