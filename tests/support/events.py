"""A seeded builder of pods' events, and a repository that accepts them.

One instrument, `DETECTORS` detectors; each (visit, detector) is a pod with one dataset of each type
in `DATASET_TYPES`, whose artifacts are real files that the Butler can read back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from astropy import units as u
from astropy.time import Time
from lsst.daf.butler import (
    Butler,
    Config,
    DatasetType,
    DimensionElement,
    DimensionRecord,
    DimensionUniverse,
    Timespan,
)
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

INSTRUMENT = "TestCam"
DETECTORS = 12
FORMATTER = "lsst.daf.butler.formatters.json.JsonFormatter"
RUN = f"{INSTRUMENT}/prompt/output-2026-11-23/ApPipe/pipelines-1a2b3c4-config-5d6e7f8"
CHAIN = f"{INSTRUMENT}/prompt/output-2026-11-23"
UNIVERSE_7 = "resource://lsst.daf.butler/configs/old_dimensions/daf_butler_universe7.yaml"

_EXPOSURE = ("instrument", "exposure", "detector")
_VISIT = ("instrument", "visit", "detector")
_GROUP = ("instrument", "group", "detector")

#: Dimensions of each dataset type that a pod writes.
DATASET_TYPES: dict[str, tuple[str, ...]] = {
    "isr_log": _EXPOSURE,
    "isr_metadata": _EXPOSURE,
    "post_isr_summary": _EXPOSURE,
    "calibrate_log": _VISIT,
    "calibrate_metadata": _VISIT,
    "single_visit_summary": _VISIT,
    "dia_source_summary": _VISIT,
    "association_log": _VISIT,
    "preload_log": _GROUP,
    "preload_metadata": _GROUP,
}


def make_repository(
    root: Path,
    *,
    database: str | None = None,
    universe: str | None = None,
    config: dict[str, Any] | None = None,
) -> Butler:
    """Make a repository whose instrument and dataset types are registered.

    Parameters
    ----------
    root : `pathlib.Path`
        Where the artifacts will be.
    database : `str`, optional
        URL of a PostgreSQL database; absent: SQLite.
    universe : `str`, optional
        Its dimension universe; absent: the current one.
    config : `dict`, optional
        Further configuration of the repository.
    """
    seed = Config(config or {})
    if database:
        seed["registry", "db"] = database
    Butler.makeRepo(str(root), config=seed, dimensionConfig=universe)
    butler = Butler.from_config(str(root), writeable=True)
    night = Night(universe=butler.dimensions)
    for name in ("instrument", "physical_filter", "visit_system", "detector"):
        butler.registry.insertDimensionData(name, *night.fixed_records(name))
    for name in DATASET_TYPES:
        butler.registry.registerDatasetType(dataset_type(name, butler.dimensions))
    return butler


def dataset_type(name: str, universe: DimensionUniverse) -> DatasetType:
    """Return a dataset type that pods write."""
    return DatasetType(name, DATASET_TYPES[name], "StructuredDataDict", universe=universe)


@dataclass
class Night:
    """Builds the events of a night; the same seed builds the same events.

    Attributes
    ----------
    root : `pathlib.Path`
        Where the artifacts are written, unless `None`.
    run : `str`
        The run that they belong to.
    universe : `lsst.daf.butler.DimensionUniverse`
        The dimension universe of the pods.
    """

    root: Path | None = None
    run: str = RUN
    universe: DimensionUniverse = field(default_factory=DimensionUniverse)
    seed: int = 1

    def event(self, visit: int = 1, detector: int = 0, **more: Any) -> dict[str, Any]:
        """Return the event of one pod, as decoded JSON.

        It has one dataset of each type in `DATASET_TYPES` and of each one that it defines.

        Parameters
        ----------
        visit, detector : `int`
            The pod's visit and detector.
        **more
            Further fields of the event.
        """
        data_id = {
            "instrument": INSTRUMENT,
            "physical_filter": "r_57",
            "visit": visit,
            "exposure": visit,
            "group": group_name(visit),
            "detector": detector,
        }
        rng = random.Random(f"{self.seed}/{self.run}/{visit}/{detector}")
        return {
            "type": "pp-output",
            "dimension_records": [
                orjson.loads(record.to_simple().model_dump_json())
                for record in self.visit_records(visit, detector)
            ],
            "datasets": [
                self._dataset(name, {k: data_id[k] for k in dimensions}, rng)
                for name, dimensions in DATASET_TYPES.items()
            ]
            + [
                self._dataset(given["name"], {k: data_id.get(k, 0) for k in given["dimensions"]})
                for given in more.get("dataset_types", ())
                if given["name"] not in DATASET_TYPES
            ],
            **more,
        }

    def _dataset(
        self, name: str, data_id: dict[str, Any], rng: random.Random | None = None
    ) -> dict[str, Any]:
        """Return a dataset; without random numbers, its ID depends on the data ID alone."""
        label = "_".join(str(value) for value in data_id.values()).replace(":", "")
        path = f"{self.run}/{name}/{name}_{label}.json"
        if self.root is not None:
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(orjson.dumps(data_id))
        ref = {"dataset_type_name": name, "run": self.run, "data_id": data_id}
        dataset_id = str(
            UUID(int=rng.getrandbits(128), version=4) if rng else uuid5(NAMESPACE_URL, path)
        )
        return {"refs": {dataset_id: ref}, "path": path, "formatter": FORMATTER}

    def fixed_records(self, element: str) -> list[DimensionRecord]:
        """Return the dimension records that are inserted together with the instrument."""
        rows: dict[str, list[dict[str, Any]]] = {
            "instrument": [
                {
                    "name": INSTRUMENT,
                    "visit_max": 10**13,
                    "exposure_max": 10**13,
                    "detector_max": 1000,
                    "visit_system": 2,
                    "class_name": "lsst.obs.testcam.TestCam",
                }
            ],
            "physical_filter": [{"name": "r_57", "band": "r"}],
            "visit_system": [{"id": 2, "name": "by-seq-start-end"}],
            "detector": [
                {"id": n, "full_name": f"R{n:02}", "purpose": "SCIENCE"} for n in range(DETECTORS)
            ],
        }
        return [self._record(element, **row) for row in rows[element]]

    def visit_records(self, visit: int, detector: int) -> list[DimensionRecord]:
        """Return the dimension records that a pod exports."""
        begin = Time("2026-11-24T02:00:00", scale="tai")
        day_begin = Time("2026-11-23T12:00:00", scale="tai")
        day = 20261123
        timespan = Timespan(begin, begin + 30 * u.s)
        shared = {
            "id": visit,
            "day_obs": day,
            "physical_filter": "r_57",
            "seq_num": visit % 10_000,
            "exposure_time": 30.0,
            "timespan": timespan,
        }
        region = _square(10.0 + 3 * (visit % 100), -30.0, 3.0)
        part = _square(10.0 + 3 * (visit % 100) + 0.2 * detector, -30.0, 0.2)
        return [
            self._record("day_obs", id=day, timespan=Timespan(day_begin, day_begin + 1 * u.day)),
            self._record("group", name=group_name(visit)),
            self._record("exposure", **shared, group=group_name(visit), obs_id=f"E{visit}"),
            self._record("visit", **shared, name=f"V{visit}", region=region),
            self._record("visit_definition", exposure=visit, visit=visit),
            self._record("visit_system_membership", visit_system=2, visit=visit),
            self._record("visit_detector_region", detector=detector, visit=visit, region=part),
        ]

    def _record(self, element: str, /, **row: Any) -> DimensionRecord:
        definition: DimensionElement = self.universe[element]
        key = {} if element == "instrument" else {"instrument": INSTRUMENT}
        return definition.RecordClass(**key, **row)


def encode(event: dict[str, Any]) -> bytes:
    """Serialize an event as pods do."""
    return orjson.dumps(event)


def dataset_ids(*events: dict[str, Any]) -> set[UUID]:
    """Return the ids of the datasets that some events hold."""
    return {UUID(i) for event in events for dataset in event["datasets"] for i in dataset["refs"]}


def stored_ids(butler: Butler, run: str = RUN) -> list[UUID]:
    """Return the ids of a run's datasets, found by queries of the Butler."""
    butler.registry.refresh()
    found: list[UUID] = []
    for kind in butler.registry.queryDatasetTypes():
        found += [
            ref.id
            for ref in butler.query_datasets(
                kind, collections=run, find_first=False, explain=False, limit=None
            )
        ]
    return found


def group_name(visit: int) -> str:
    """Return the name of a visit's group."""
    return f"2026-11-24T02:00:{visit}"


def _square(lon: float, lat: float, size: float) -> ConvexPolygon:
    corners = [(lon, lat), (lon + size, lat), (lon + size, lat + size), (lon, lat + size)]
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])
