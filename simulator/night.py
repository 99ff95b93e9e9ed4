"""A night: visits at regular intervals, and a pod for each detector of a visit."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from uuid import UUID

from astropy import units
from astropy.time import Time
from lsst.daf.butler import (
    DataCoordinate,
    DatasetRef,
    DatasetType,
    DimensionRecord,
    DimensionUniverse,
    Timespan,
)

from simulator.camera import DETECTORS, INSTRUMENT, Detector, footprint
from simulator.outputs import dataset_types, pipeline_of

__all__ = ["FILTERS", "Night", "Output", "Pod", "Visit"]

#: Physical filters, each with its band.
FILTERS = {"u_24": "u", "g_6": "g", "r_57": "r", "i_39": "i", "z_20": "z", "y_10": "y"}

_VERSION = "pipelines-1a2b3c4-config-5d6e7f8"
_EXPOSURE_SECONDS = 30.0
#: As fractions of the cadence: mean and standard deviation of the time that a pod needs after the
#: shutter has closed, and the shortest and longest delay of a straggler.
_PROCESSING = (0.6, 0.12)
_STRAGGLING = (1.0, 4.0)
#: Number of datasets that a pod writes even if its tasks fail early.
_FEWEST_DATASETS = 20


@dataclass(frozen=True)
class Night:
    """A night of observing; the same seed always gives the same night.

    Attributes
    ----------
    seed : `int`
        Seed of all random numbers.
    day_obs : `str`
        The day on which the night begins, ``YYYY-MM-DD``.
    evening : `astropy.time.Time`, optional
        When the first exposure begins, less the cadence; if omitted, half an hour before midnight.
    visits, detectors : `int`
        Number of visits, and of detectors that are processed in each.
    cadence : `float`
        Seconds between two visits.
    stragglers : `float`
        Fraction of pods that are late.
    datasets : `int`, optional
        Number of datasets of a pod; if omitted, the number that its tasks produce.
    universe : `lsst.daf.butler.DimensionUniverse`
        Dimension universe of the pods.
    """

    seed: int = 1
    day_obs: str = "2026-11-23"
    evening: Time | None = None
    visits: int = 800
    detectors: int = len(DETECTORS)
    cadence: float = 34.0
    stragglers: float = 0.0
    datasets: int | None = None
    universe: DimensionUniverse = field(default_factory=DimensionUniverse)

    @property
    def day(self) -> int:
        """The day as in the Butler's dimension ``day_obs``, ``YYYYMMDD``."""
        return int(self.day_obs.replace("-", ""))

    @property
    def chain(self) -> str:
        """The chain that contains all its runs."""
        return f"{INSTRUMENT}/prompt/output-{self.day_obs}"

    def run(self, dataset_type: DatasetType) -> str:
        """Return the run of a dataset type's datasets."""
        return f"{self.chain}/{pipeline_of(dataset_type)}/{_VERSION}"

    @property
    def runs(self) -> list[str]:
        """All its runs."""
        return sorted({self.run(dataset_type) for dataset_type in self.dataset_types})

    @cached_property
    def dataset_types(self) -> list[DatasetType]:
        """The dataset types that a pod can produce."""
        return dataset_types(self.universe, self.datasets)

    def pods(self) -> Iterator[tuple[float, Pod]]:
        """Yield the pods of the night in the order in which they end.

        Only pods that have not ended are kept in memory.

        Yields
        ------
        seconds : `float`
            When the pod ends, in seconds after the end of the night's first exposure.
        pod : `Pod`
            The pod.
        """
        at_work: list[tuple[float, int, int, Pod]] = []
        for number in range(self.visits):
            closed = number * self.cadence
            while at_work and at_work[0][0] < closed:
                done, *_, pod = heapq.heappop(at_work)
                yield done, pod
            visit = Visit(self, number + 1)
            for detector in DETECTORS[: self.detectors]:
                pod = Pod(visit, detector)
                heapq.heappush(at_work, (closed + pod.seconds, number, detector.id, pod))
        while at_work:
            done, *_, pod = heapq.heappop(at_work)
            yield done, pod


@dataclass(frozen=True)
class Visit:
    """One visit, with one exposure.

    Attributes
    ----------
    night : `Night`
        Its night.
    number : `int`
        Its number in the night, from 1.
    """

    night: Night
    number: int

    @property
    def id(self) -> int:
        """Number of the visit, and of its exposure."""
        return self.night.day * 100_000 + self.number

    @cached_property
    def begin(self) -> Time:
        """When the shutter opens."""
        night = self.night
        evening = night.evening or Time(f"{night.day_obs}T23:30:00", scale="tai")
        return (evening + self.number * night.cadence * units.s).tai

    @property
    def end(self) -> Time:
        """When the shutter closes."""
        return self.begin + _EXPOSURE_SECONDS * units.s

    @cached_property
    def group(self) -> str:
        """Name of its group: the time at which it was announced."""
        return str(self.begin.isot)

    @cached_property
    def pointing(self) -> tuple[float, float]:
        """Where the telescope points: right ascension and declination, in degrees."""
        rng = random.Random(f"{self.night.seed}/pointing/{self.number}")
        return rng.uniform(0.0, 360.0), rng.uniform(-70.0, 5.0)

    @cached_property
    def data_id(self) -> dict[str, int | str]:
        """Its data ID, without the detector."""
        return {
            "instrument": INSTRUMENT,
            "visit": self.id,
            "exposure": self.id,
            "group": self.group,
        }

    @cached_property
    def records(self) -> dict[str, list[DimensionRecord]]:
        """Dimension records that all its pods export, by element."""
        night = self.night
        noon = Time(f"{night.day_obs}T12:00:00", scale="tai")
        rng = random.Random(f"{night.seed}/filter/{self.number // 40}")
        name = f"MC_O_{night.day}_{self.number:06}"
        common = {
            "id": self.id,
            "day_obs": night.day,
            "physical_filter": rng.choice(sorted(FILTERS)),
            "seq_num": self.number,
            "exposure_time": _EXPOSURE_SECONDS,
            "target_name": f"field-{self.number // 40}",
            "science_program": "simulation",
            "observation_reason": "science",
            "timespan": Timespan(self.begin, self.end),
        }
        ra, dec = self.pointing
        exposure = {
            "obs_id": name,
            "group": self.group,
            "dark_time": _EXPOSURE_SECONDS + 0.9,
            "observation_type": "science",
            "tracking_ra": ra,
            "tracking_dec": dec,
            "can_see_sky": True,
        }
        rows: dict[str, dict[str, object]] = {
            "group": {"name": self.group},
            "day_obs": {"id": night.day, "timespan": Timespan(noon, noon + 1 * units.day)},
            "exposure": common | exposure,
            "visit": common | {"name": name, "region": footprint(ra, dec)},
            "visit_system": {"id": 0, "name": "one-to-one"},
            "visit_definition": {"exposure": self.id, "visit": self.id},
            "visit_system_membership": {"visit_system": 0, "visit": self.id},
        }
        return {
            element: [night.universe[element].RecordClass(instrument=INSTRUMENT, **row)]
            for element, row in rows.items()
        }


@dataclass(frozen=True)
class Output:
    """A dataset that a pod has written to its artifact.

    Attributes
    ----------
    ref : `lsst.daf.butler.DatasetRef`
        The dataset.
    path : `str`
        Path of its artifact, relative to the datastore root.
    """

    ref: DatasetRef
    path: str

    @property
    def content(self) -> dict[str, object]:
        """The content of the artifact."""
        return {"dataset_type": self.ref.datasetType.name, **self.ref.dataId.required}


@dataclass(frozen=True)
class Pod:
    """Processes one detector of one visit."""

    visit: Visit
    detector: Detector

    def _random(self, purpose: str) -> random.Random:
        night = self.visit.night
        return random.Random(f"{night.seed}/{purpose}/{self.visit.id}/{self.detector.id}")

    @cached_property
    def seconds(self) -> float:
        """Seconds that it needs after the shutter has closed."""
        rng = self._random("seconds")
        late = rng.uniform(*_STRAGGLING) if rng.random() < self.visit.night.stragglers else 0.0
        return self.visit.night.cadence * (max(0.1, rng.gauss(*_PROCESSING)) + late)

    @property
    def records(self) -> dict[str, list[DimensionRecord]]:
        """The dimension records that it exports, by element.

        The same as the deployed pods': not those that are registered with the instrument.
        """
        region = self.visit.night.universe["visit_detector_region"].RecordClass(
            instrument=INSTRUMENT,
            visit=self.visit.id,
            detector=self.detector.id,
            region=self.detector.region(*self.visit.pointing),
        )
        return {**self.visit.records, "visit_detector_region": [region]}

    @cached_property
    def outputs(self) -> list[Output]:
        """Its outputs, in the order of its tasks; sometimes the last tasks fail."""
        night = self.visit.night
        rng = self._random("outputs")
        made = len(night.dataset_types)
        if rng.random() < 0.1:
            made = rng.randint(_FEWEST_DATASETS, made)
        values = {**self.visit.data_id, "detector": self.detector.id}
        outputs = []
        for dimensions, group in groupby(night.dataset_types[:made], lambda kind: kind.dimensions):
            data_id = DataCoordinate.from_required_values(
                dimensions, tuple(values[name] for name in dimensions.required)
            )
            for dataset_type in group:
                dataset_id = UUID(int=rng.getrandbits(128), version=4)
                run = night.run(dataset_type)
                ref = DatasetRef(dataset_type, data_id, run, id=dataset_id, conform=False)
                outputs.append(Output(ref, self._path(dataset_type.name, run)))
        return outputs

    def _path(self, name: str, run: str) -> str:
        label = f"{INSTRUMENT}_{self.visit.id}_{self.detector.name}"
        return f"{run}/{name}/{self.visit.night.day}/{self.visit.id}/{name}_{label}.json"
