"""Shows in the metrics which versions are running."""

from __future__ import annotations

from importlib.metadata import version

from lsst.daf.butler import DimensionUniverse

from app.installation import own_version
from app.telemetry import metrics

__all__ = ["show_build"]


def show_build(universe: DimensionUniverse | None = None) -> None:
    """Show the versions of the service, of its libraries, and of the dimension universe.

    Parameters
    ----------
    universe : `lsst.daf.butler.DimensionUniverse`, optional
        The repository's; not known before it is open.
    """
    metrics.BUILD_INFO.clear()
    metrics.BUILD_INFO.labels(
        version=own_version(),
        daf_butler=version("lsst-daf-butler"),
        faust=version("faust-streaming"),
        universe="" if universe is None else str(universe.version),
    ).set(1)
