"""What a pod produces: dataset types, runs, and the paths of artifacts.

The names are those of an alert production pipeline.  Every artifact is a small JSON file
(``StructuredDataDict``), so that daf_butler alone can read it back.
"""

from __future__ import annotations

from itertools import count, islice

from lsst.daf.butler import DatasetType, DimensionUniverse

__all__ = ["FORMATTER", "dataset_types", "pipeline_of"]

FORMATTER = "lsst.daf.butler.formatters.json.JsonFormatter"
_STORAGE_CLASS = "StructuredDataDict"

_TASKS: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {
    ("instrument", "group", "detector"): {
        "loadDiaCatalogs": ("log", "metadata"),
        "getRegionTimeFromVisit": ("log", "metadata"),
    },
    ("instrument", "exposure", "detector"): {
        "isr": ("log", "metadata", "statistics"),
        "overscanRaw": ("log", "metadata"),
    },
    ("instrument", "visit", "detector"): {
        "calibrateImage": ("log", "metadata", "summary", "background"),
        "standardizeSource": ("log", "metadata"),
        "rewarpTemplate": ("log", "metadata", "coverage"),
        "subtractImages": ("log", "metadata", "kernel"),
        "detectAndMeasureDiaSource": ("log", "metadata", "schema", "metrics"),
        "filterDiaSource": ("log", "metadata", "rejected"),
        "transformDiaSource": ("log", "metadata"),
        "associateApdb": ("log", "metadata", "summary"),
        "mpSkyEphemeris": ("log", "metadata"),
        "analyzeLoadedSolarSystemObjects": ("log", "metadata", "metrics"),
        "sampleSpatialMetrics": ("log", "metadata", "metrics"),
        "alertPackets": ("log", "metadata", "summary"),
    },
}


def dataset_types(universe: DimensionUniverse, number: int | None = None) -> list[DatasetType]:
    """Return the dataset types of all outputs, in the order in which a pod writes them.

    Parameters
    ----------
    universe : `lsst.daf.butler.DimensionUniverse`
        Dimension universe.
    number : `int`, optional
        How many to return.  If it is more than there are, the tasks are repeated under other
        names.
    """
    names = [
        (f"{task}_{kind}", dimensions)
        for dimensions, tasks in _TASKS.items()
        for task, kinds in tasks.items()
        for kind in kinds
    ]
    again = ((f"{name}{n}", dimensions) for n in count(2) for name, dimensions in names)
    chosen = names[:number] + list(islice(again, max(0, (number or 0) - len(names))))
    return [
        DatasetType(name, dimensions, _STORAGE_CLASS, universe=universe)
        for name, dimensions in chosen
    ]


def pipeline_of(dataset_type: DatasetType) -> str:
    """Return the pipeline that produces a dataset type: one runs before the exposure, one after."""
    return "Preprocessing" if "group" in dataset_type.dimensions else "ApPipe"
