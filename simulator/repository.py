"""The repository that the night's outputs are written to."""

from __future__ import annotations

from pathlib import Path

import psycopg
from lsst.daf.butler import Butler, Config, DimensionRecord, DimensionUniverse

from simulator.camera import DETECTORS, INSTRUMENT
from simulator.night import FILTERS
from simulator.outputs import dataset_types

__all__ = ["make_empty_repository", "make_repository"]


def make_repository(root: Path, database: str | None = None) -> bool:
    """Create a repository if there is none, and register the instrument and the dataset types.

    The parameters and the result are those of `make_empty_repository`.
    """
    missing = make_empty_repository(root, database)
    butler = Butler.from_config(str(root), writeable=True)
    for element, records in _instrument_records(butler.dimensions).items():
        butler.registry.insertDimensionData(element, *records, skip_existing=True)
    for dataset_type in dataset_types(butler.dimensions):
        butler.registry.registerDatasetType(dataset_type)
    return missing


def make_empty_repository(root: Path, database: str | None = None) -> bool:
    """Create a repository if there is none.

    Parameters
    ----------
    root : `pathlib.Path`
        Root of the repository.
    database : `str`, optional
        URL of a PostgreSQL database; if omitted, SQLite is used.

    Returns
    -------
    made : `bool`
        Whether it was created.
    """
    file = root / "butler.yaml"
    missing = not file.exists()
    if missing:
        config = Config()
        if database:
            _install_extension(database)
            config["registry", "db"] = database
        try:
            Butler.makeRepo(str(root), config=config)
        except BaseException:
            # It is written first, and would be taken for a complete repository.
            file.unlink(missing_ok=True)
            raise
    return missing


def _install_extension(database: str) -> None:
    """Install the extension that the Butler needs in PostgreSQL; the database's owner may."""
    with psycopg.connect(database) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")


def _instrument_records(universe: DimensionUniverse) -> dict[str, list[DimensionRecord]]:
    instrument = universe["instrument"].RecordClass(
        name=INSTRUMENT,
        visit_max=10**13,
        exposure_max=10**13,
        detector_max=1000,
        visit_system=0,
        class_name="lsst.obs.lsst.LsstCam",
    )
    filters = [
        universe["physical_filter"].RecordClass(instrument=INSTRUMENT, name=name, band=band)
        for name, band in FILTERS.items()
    ]
    detectors = [
        universe["detector"].RecordClass(
            instrument=INSTRUMENT,
            id=detector.id,
            full_name=detector.name,
            raft=detector.raft,
            name_in_raft=detector.sensor,
            purpose="SCIENCE",
        )
        for detector in DETECTORS
    ]
    return {"instrument": [instrument], "physical_filter": filters, "detector": detectors}
